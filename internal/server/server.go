// Package server answers HTTP about a running process: its metrics, its health and its status.
// It only reads, so it asks nobody who they are; that is why it listens on loopback unless it is told
// otherwise.
package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/status"
)

// DefaultListen is where the server listens unless told otherwise.
const DefaultListen = "127.0.0.1:8321"

// Source says how the process is doing. Status is called for every request, from several
// goroutines; what it returns belongs to the caller.
type Source interface {
	Status() status.Status
}

// Options of a Server. Listen may be empty for DefaultListen; the rest is required.
type Options struct {
	// Listen is host:port. Without a host it is loopback, not every interface: say 0.0.0.0 for that.
	Listen  string
	Source  Source
	Metrics http.Handler
	Log     *slog.Logger
}

// Server serves until Stop. Make it with New, then Start it once.
type Server struct {
	o        Options
	http     *http.Server
	listener net.Listener
	done     chan struct{} // closed when the serving goroutine has ended

	flag    string                              // which chose the address
	address func(listen string) (string, error) // what to listen on
	told    func(url string)                    // called once it listens
}

// New prepares a server; it does not listen yet.
func New(o Options) *Server {
	s := &Server{o: o, done: make(chan struct{}), flag: "--listen", address: listenAddr}
	s.told = func(url string) { o.Log.Info("listening", "url", url) }
	s.serve(s.Handler())
	return s
}

func (s *Server) serve(h http.Handler) {
	s.http = &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(s.o.Log.Handler(), slog.LevelWarn),
	}
}

// Start listens and serves in the background. The error is of class config: the address is wrong or taken.
func (s *Server) Start() error {
	addr, err := s.address(s.o.Listen)
	if err == nil {
		s.listener, err = net.Listen("tcp", addr)
	}
	if err != nil {
		return &waybill.Error{
			Op: "server.listen", Class: waybill.ClassConfig, Err: err,
			Hint: "choose another address with " + s.flag + "; port 0 takes a free one",
		}
	}
	s.told("http://" + s.Addr())
	go func() {
		defer close(s.done)
		if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			s.o.Log.Error("the HTTP server ended", "error", err)
		}
	}()
	return nil
}

// Addr is host:port as it really is, once Start has returned.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Stop lets requests in flight finish until ctx ends, then closes what is left. Stop without Start does nothing.
func (s *Server) Stop(ctx context.Context) error {
	if s.listener == nil {
		return nil
	}
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	<-s.done
	return err
}

func listenAddr(addr string) (string, error) {
	if addr == "" {
		return DefaultListen, nil
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", err
	}
	if host == "" {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), nil
}

// Handler serves the endpoints; Start serves it too.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", s.o.Metrics)
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.HandleFunc("GET /status", s.status)
	mux.HandleFunc("GET /{$}", index)
	return mux
}

func index(w http.ResponseWriter, _ *http.Request) {
	plain(w, http.StatusOK, `waybill
/status   what every pipeline is doing, as JSON
/readyz   200 once every pipeline has its partitions, 503 with the reasons before
/healthz  200 while the process is alive
/metrics  for Prometheus
`)
}

func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, "ok\n") }

func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	st := s.o.Source.Status()
	code, text := http.StatusOK, "ready\n"
	reasons := st.NotReady()
	if len(reasons) > 0 {
		code, text = http.StatusServiceUnavailable, "not ready\n"
	}
	for _, r := range slices.Concat(reasons, st.Notes()) {
		text += "- " + r + "\n"
	}
	plain(w, code, text)
}

func (s *Server) status(w http.ResponseWriter, _ *http.Request) {
	body, err := json.MarshalIndent(s.o.Source.Status(), "", "  ")
	if err != nil {
		s.o.Log.Error("status cannot be written as JSON", "error", err)
		plain(w, http.StatusInternalServerError, "status cannot be written as JSON; the log says why\n")
		return
	}
	write(w, http.StatusOK, "application/json", append(body, '\n'))
}

func plain(w http.ResponseWriter, code int, text string) {
	write(w, code, "text/plain; charset=utf-8", []byte(text))
}

func write(w http.ResponseWriter, code int, contentType string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", fmt.Sprint(len(body)))
	h.Set("Cache-Control", "no-store") // every answer is about this moment
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_, _ = w.Write(body) // whoever asked may be gone, and nobody else is to be told
}
