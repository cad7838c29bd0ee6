// Package deploy holds what Waybill is run with: a systemd unit, a Dockerfile, a compose file, a Helm chart, a Grafana dashboard and rules for
// Prometheus. In Go it holds nothing but their tests.
package deploy
