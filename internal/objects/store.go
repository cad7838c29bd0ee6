// Package objects keeps records as objects on storage that speaks S3: the adapter over the client, the objects' names, and their format. It
// decides nothing about delivery, see docs/adr/0018. An object is written once, whole, under a name that follows from what it holds, so that
// to write it again changes nothing.
package objects

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/waybill-data/waybill"
)

// Config says which storage.
type Config struct {
	Endpoint             string // URL of scheme and host
	Bucket, Prefix       string // Prefix is empty or ends with a slash
	Region               string
	AccessKey, SecretKey string
	PathStyle            bool
	// Timeout bounds a request whose context has no earlier end.
	Timeout time.Duration
}

// Store is a bucket, or what of it is under a prefix. It is safe for concurrent use.
type Store struct {
	cfg Config
	s3  *minio.Core
}

// Open makes a store; it connects when it is used.
func Open(cfg Config) (*Store, error) {
	host, plain := strings.CutPrefix(cfg.Endpoint, "http://")
	host = strings.TrimPrefix(host, "https://")
	lookup := minio.BucketLookupDNS
	if cfg.PathStyle {
		lookup = minio.BucketLookupPath
	}
	s3, err := minio.NewCore(host, &minio.Options{Creds: credentials.NewStaticV4(cfg.AccessKey, cfg.SecretKey, ""), Secure: !plain, Region: cfg.Region,
		BucketLookup: lookup, MaxRetries: 1}) // whoever asks tries again, and says so
	if err != nil {
		return nil, &waybill.Error{Op: "objects.open", Class: waybill.ClassConfig, Err: err, Hint: "look at s3 in the pipeline file"}
	}
	return &Store{cfg: cfg, s3: s3}, nil
}

// Place is where the store is, for people.
func (s *Store) Place() string { return s.cfg.Bucket + "/" + s.cfg.Prefix }

// Check asks whether the bucket is there and may be listed.
func (s *Store) Check(ctx context.Context) error {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	for info := range s.s3.ListObjectsIter(ctx, s.cfg.Bucket, minio.ListObjectsOptions{Prefix: s.cfg.Prefix, Recursive: true, MaxKeys: 1}) {
		return s.failed("objects.check", "", info.Err)
	}
	return ctx.Err()
}

func (s *Store) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.cfg.Timeout == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, s.cfg.Timeout)
}

// Put writes an object. The server checks the body against a checksum that comes with it, and shows it whole or not at all.
func (s *Store) Put(ctx context.Context, name string, body []byte) error {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	_, err := s.s3.Client.PutObject(ctx, s.cfg.Bucket, s.cfg.Prefix+name, bytes.NewReader(body), int64(len(body)),
		minio.PutObjectOptions{ContentType: "application/zstd", SendContentMd5: true, DisableMultipart: true})
	return s.failed("objects.put", name, err)
}

// PutValue writes an object that is a value by itself.
func (s *Store) PutValue(ctx context.Context, name string, body []byte) error {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	_, err := s.s3.Client.PutObject(ctx, s.cfg.Bucket, s.cfg.Prefix+name, bytes.NewReader(body), int64(len(body)),
		minio.PutObjectOptions{ContentType: "text/plain; charset=utf-8", SendContentMd5: true, DisableMultipart: true})
	return s.failed("objects.put", name, err)
}

// Found is one object of a list, whatever its name says.
type Found struct {
	Name     string // without the store's prefix
	Size     int64
	Modified time.Time
}

// Names gives all objects whose names begin with a folder, in the order of names. fn's error ends it and is returned.
func (s *Store) Names(ctx context.Context, folder string, fn func(Found) error) error {
	for info := range s.s3.ListObjectsIter(ctx, s.cfg.Bucket, minio.ListObjectsOptions{Prefix: s.cfg.Prefix + folder, Recursive: true}) {
		if info.Err != nil {
			return s.failed("objects.list", folder, info.Err)
		}
		if err := fn(Found{strings.TrimPrefix(info.Key, s.cfg.Prefix), info.Size, info.LastModified}); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// ErrGone: there is no object of that name.
var ErrGone = errors.New("there is no such object")

// Get reads an object. The error wraps ErrGone if there is none.
func (s *Store) Get(ctx context.Context, name string) ([]byte, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	body, _, _, err := s.s3.GetObject(ctx, s.cfg.Bucket, s.cfg.Prefix+name, minio.GetObjectOptions{})
	if err != nil {
		return nil, s.failed("objects.get", name, err)
	}
	defer func() { _ = body.Close() }() // it is only read
	data, err := io.ReadAll(body)
	return data, s.failed("objects.get", name, err)
}

// Remove removes an object, and all that the bucket keeps of it beside: where it keeps versions, to delete is to add one. An object that is
// not there is removed.
func (s *Store) Remove(ctx context.Context, name string) error {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	v, err := s.s3.GetBucketVersioning(ctx, s.cfg.Bucket)
	if err != nil && minio.ToErrorResponse(err).StatusCode != http.StatusNotImplemented {
		return s.failed("objects.remove", name, err)
	}
	if v.Status == "" { // it has never kept any
		return s.failed("objects.remove", name, s.s3.RemoveObject(ctx, s.cfg.Bucket, s.cfg.Prefix+name, minio.RemoveObjectOptions{}))
	}
	for o := range s.s3.ListObjectsIter(ctx, s.cfg.Bucket, minio.ListObjectsOptions{Prefix: s.cfg.Prefix + name, Recursive: true, WithVersions: true}) {
		if o.Err == nil {
			o.Err = s.s3.RemoveObject(ctx, s.cfg.Bucket, o.Key, minio.RemoveObjectOptions{VersionID: o.VersionID})
		}
		if o.Err != nil {
			return s.failed("objects.remove", name, o.Err)
		}
	}
	return nil
}

// Entry is one object of a list.
type Entry struct {
	Name
	Size     int64
	Modified time.Time
}

// List gives the archive's objects whose names begin with a folder, in the order of names, from after a name on (empty: all). Whatever else
// is there is passed over. fn's error ends it and is returned.
func (s *Store) List(ctx context.Context, folder, after string, fn func(Entry) error) error {
	o := minio.ListObjectsOptions{Prefix: s.cfg.Prefix + folder, Recursive: true}
	if after != "" {
		o.StartAfter = s.cfg.Prefix + after
	}
	for info := range s.s3.ListObjectsIter(ctx, s.cfg.Bucket, o) {
		if info.Err != nil {
			return s.failed("objects.list", folder, info.Err)
		}
		name, ok := ParseName(strings.TrimPrefix(info.Key, s.cfg.Prefix))
		if !ok {
			continue
		}
		if err := fn(Entry{name, info.Size, info.LastModified}); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// errEnough ends a list.
var errEnough = errors.New("enough")

// Within are a partition's objects that may hold records of a span, in the order of their first offsets.
func (s *Store) Within(ctx context.Context, tp waybill.TopicPartition, epoch waybill.Epoch, span waybill.Span) ([]Entry, error) {
	var out []Entry
	folder := Folder(tp, epoch)
	err := s.List(ctx, folder, folder+group(span.First), func(e Entry) error {
		if e.First >= span.Next {
			return errEnough
		}
		if e.Next > span.First {
			out = append(out, e)
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return out, err
}

// failed classifies what the client says. What can be mended on the server's side heals: a worker waits for it, and shows that it does.
func (s *Store) failed(op, name string, err error) error {
	if err == nil {
		return nil
	}
	out := &waybill.Error{Op: op, Class: waybill.ClassRetryable, Err: fmt.Errorf("%s%s: %w", s.Place(), name, err)}
	r := minio.ToErrorResponse(err)
	switch r.Code {
	case minio.NoSuchKey:
		out.Err = fmt.Errorf("%s%s: %w", s.Place(), name, ErrGone)
	case minio.NoSuchBucket:
		out.Class, out.Hint = waybill.ClassConfig, "make the bucket, or correct the bucket in the file"
	case minio.AccessDenied, "InvalidAccessKeyId", "SignatureDoesNotMatch":
		out.Class, out.Hint = waybill.ClassConfig, "the key must be allowed to list the bucket, and to get, put and delete objects in it"
	case "AuthorizationHeaderMalformed", "PermanentRedirect":
		out.Class, out.Hint = waybill.ClassConfig, "correct region and endpoint in the file"
	case "SlowDown", "TooManyRequests":
		out.Class = waybill.ClassThrottled
	}
	return out
}

// Present are the offsets of a span that some object holds a record of.
func (s *Store) Present(ctx context.Context, tp waybill.TopicPartition, epoch waybill.Epoch, span waybill.Span) (out waybill.OffsetSet, err error) {
	entries, err := s.Within(ctx, tp, epoch, span)
	if err != nil {
		return out, err
	}
	for _, e := range entries {
		of, err := s.OffsetsOf(ctx, e.Name)
		if err != nil {
			return out, err
		}
		out = out.Union(of.Within(span))
	}
	return out, nil
}

// OffsetsOf are the offsets that an object holds a record of. It is read only if its name does not say it.
func (s *Store) OffsetsOf(ctx context.Context, n Name) (out waybill.OffsetSet, err error) {
	if n.Whole() {
		return waybill.OffsetsIn(n.Span), nil
	}
	records, _, err := s.Records(ctx, n)
	for i := range records {
		out.Add(records[i].Offset)
	}
	return out, err
}

// Records reads an object's records: see Decode.
func (s *Store) Records(ctx context.Context, n Name) (records []waybill.Record, archived int64, err error) {
	body, err := s.Get(ctx, n.String())
	if err != nil {
		return nil, 0, err
	}
	return Decode(n, body)
}

// Partitions are those of a topic that have objects under an epoch, in order.
func (s *Store) Partitions(ctx context.Context, topic string, epoch waybill.Epoch) (out []int32, err error) {
	for p := int32(0); ; {
		// Each list ends with the first object of the next partition.
		found := int32(-1)
		folder := fmt.Sprintf("topic=%s/epoch=%d/", topic, epoch)
		err := s.List(ctx, folder, Folder(waybill.TopicPartition{Topic: topic, Partition: p}, epoch), func(e Entry) error {
			found = e.Partition
			return errEnough
		})
		if err != nil && !errors.Is(err, errEnough) {
			return nil, err
		}
		if found < 0 {
			return out, nil
		}
		out, p = append(out, found), found+1
	}
}
