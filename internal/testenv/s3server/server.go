// Package s3server runs versitygw for tests, which tools/engines/fetch builds: storage that speaks S3, with a directory behind it.
package s3server

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/waybill-data/waybill/internal/testenv/proc"
)

// The keys of the one user that there is.
const (
	AccessKey = "waybill"
	SecretKey = "waybill-secret"
)

// Locate finds the program: one that is installed, else what tools/engines/fetch brought.
func Locate() (string, error) {
	const name = "versitygw"
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, cache := range proc.EngineCaches() {
		path := filepath.Join(cache, "versitygw", name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not here: install it, or run `tools/engines/fetch versitygw`", name)
}

// Server is a versitygw.
type Server struct {
	*proc.Daemon
	port int
	dir  string
}

// Start starts one with its data below the directory. A server that was killed or stopped is started again with Daemon.Start, at the same
// address and with the same data. It is the caller's to end.
func Start(ctx context.Context, dir string) (*Server, error) {
	program, err := Locate()
	if err != nil {
		return nil, err
	}
	s := &Server{dir: filepath.Join(dir, "data")}
	if err := proc.FreePorts(&s.port); err != nil {
		return nil, err
	}
	versions := filepath.Join(dir, "versions")
	for _, d := range []string{s.dir, versions} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, err
		}
	}
	s.Daemon = proc.New(proc.Spec{Name: "versitygw", Command: func() (*exec.Cmd, error) {
		return exec.Command(program, "--port", proc.Loopback(s.port), "--access", AccessKey, "--secret", SecretKey, "--quiet", "posix", "--versioning-dir", versions, s.dir), nil
	}, Ready: s.ready})
	return s, s.Daemon.Start(ctx)
}

// URL is where it is.
func (s *Server) URL() string { return "http://" + proc.Loopback(s.port) }

// Dir is where the files of a bucket are: each object is one, under its name.
func (s *Server) Dir(bucket string) string { return filepath.Join(s.dir, bucket) }

// Client speaks to it.
func (s *Server) Client() (*minio.Client, error) {
	return minio.New(proc.Loopback(s.port), &minio.Options{Creds: credentials.NewStaticV4(AccessKey, SecretKey, ""), Region: "us-east-1", BucketLookup: minio.BucketLookupPath, MaxRetries: 1})
}

// ready: whatever it answers, it answers.
func (s *Server) ready(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL()+"/", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}
