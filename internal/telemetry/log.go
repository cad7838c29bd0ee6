// Package telemetry makes Waybill's logger and its metrics. It knows no stage: whoever has something
// to say is handed a *slog.Logger, and metrics through typed methods.
package telemetry

import (
	"io"
	"log/slog"
	"time"

	"github.com/lmittmann/tint"
)

// NewLogger logs to w at level and above: for people, in colour, if w is a terminal (tty), one JSON
// object a line otherwise. json asks for JSON on a terminal too.
func NewLogger(w io.Writer, tty bool, level slog.Leveler, json bool) *slog.Logger {
	if tty && !json {
		return slog.New(tint.NewTextHandler(w, &tint.Options{Level: level, TimeFormat: time.TimeOnly}))
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
}
