package testenv

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/minio/minio-go/v7"

	"github.com/waybill-data/waybill/internal/testenv/s3server"
)

var buckets atomic.Int64

// Bucket makes a bucket of the test's own.
func Bucket(t testing.TB, s3 *s3server.Server) (name string) {
	t.Helper()
	client, err := s3.Client()
	if err != nil {
		t.Fatal(err)
	}
	name = fmt.Sprintf("bucket-%d", buckets.Add(1))
	if err := client.MakeBucket(t.Context(), name, minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	return name
}

// S3 is object storage of the test's own, which it may kill and start again.
func S3(t testing.TB) *s3server.Server {
	t.Helper()
	if _, err := s3server.Locate(); err != nil {
		missing(t, "versitygw", err)
	}
	srv, err := s3server.Start(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Kill)
	return srv
}
