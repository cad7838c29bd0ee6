//go:build waybill_other_decoder

package json

// Version of a decoder that no release has: the test of rolling upgrades (e2e) builds the binary with it, to run beside one that judges some records
// otherwise.
const Version uint16 = 103

// changed are texts that become dead letters here and rows elsewhere.
func changed(text []byte) bool { return len(text)%7 == 3 }
