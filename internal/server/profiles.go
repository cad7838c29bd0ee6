package server

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof" //nolint:gosec // it also registers with the default mux, which nothing here serves
	"time"
)

// profilesFor bounds how long one profile or trace may take to be collected and written.
const profilesFor = 10 * time.Minute

// NewProfiles prepares a server of Go's profiles under /debug/pprof/, for `go tool pprof`. They show memory and take time, so they have
// an address of their own, which has to be loopback.
func NewProfiles(listen string, log *slog.Logger) *Server {
	s := &Server{o: Options{Listen: listen, Log: log}, done: make(chan struct{}), flag: "--pprof", address: loopback}
	s.told = func(url string) { log.Info("profiles are served", "url", url+"/debug/pprof/") }
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	s.serve(mux)
	s.http.WriteTimeout = profilesFor
	return s
}

// loopback is host:port, if that is an address of this machine alone.
func loopback(listen string) (string, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", err
	}
	if host == "" || host == "localhost" {
		host = "127.0.0.1"
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return "", fmt.Errorf("%s is not loopback, and profiles show what is in memory", host)
	}
	return net.JoinHostPort(host, port), nil
}
