// Package e2e runs the whole binary against real engines and does to it what happens in production:
// processes are killed, servers go away, replies are lost, groups are moved by hand. Afterwards an oracle
// that shares no code with the product counts every record that was produced.
//
// A short selection runs with the other tests; WAYBILL_E2E=full runs everything, and WAYBILL_EVIDENCE=1
// writes what was seen to docs/evidence/e2e.txt.
package e2e
