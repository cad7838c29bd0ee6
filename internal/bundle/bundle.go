// Package bundle makes support archives: what somebody who helps needs to see of a pipeline, and nothing that they must not. It is pure but for the one
// function that writes the file; what is in an archive is gathered by cli/doctor_bundle.go.
//
// Nothing gets into an archive but through a Masker. What is known to be secret is taken out of every byte, wherever it came from: the places that
// ought not to say it have tests of their own, and this does not rely on them. What a Masker cannot vouch for is left out, and the manifest says so.
package bundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Folder is what everything in an archive is under, so that unpacking it scatters nothing.
const Folder = "waybill-support"

// Manifest is the name of the file that says what the others are.
const Manifest = "MANIFEST"

// Piece is a file of an archive, or what became of it.
type Piece struct {
	Name string // below Folder
	What string // it is, in a sentence without a full stop
	Data []byte
	// Lacks is why it is not there, or what of it is not; empty: it is whole.
	Lacks []string
}

// There reports whether the archive has the piece.
func (p *Piece) There() bool { return p.Data != nil }

// Head is what an archive is of.
type Head struct {
	Pipeline, Version string
	At                time.Time
}

// Mask takes out of all pieces what must not be shown. It is to be called before Write, once.
func Mask(pieces []Piece, m *Masker) {
	for i := range pieces {
		p := &pieces[i]
		for j := range p.Lacks {
			p.Lacks[j] = m.Text(p.Lacks[j])
		}
		if p.Data == nil {
			continue
		}
		data, ok := m.Bytes(p.Data)
		if !ok {
			p.Data, p.Lacks = nil, append(p.Lacks, "left out: a secret could not be taken out of it")
			continue
		}
		p.Data = data
	}
}

// Contents is the manifest.
func Contents(h Head, pieces []Piece) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "Support archive of pipeline %s, made by Waybill %s at %s.\n", h.Pipeline, h.Version, h.At.UTC().Format(time.RFC3339))
	b.WriteString("\nWhat is in it:\n\n")
	for i := range pieces {
		if p := &pieces[i]; p.There() {
			fmt.Fprintf(&b, "  %s (%d bytes)\n      %s.\n", p.Name, len(p.Data), p.What)
		}
	}
	b.WriteString("\nWhat could not be had, or not whole, and why:\n\n")
	n := 0
	for i := range pieces {
		p := &pieces[i]
		for _, why := range p.Lacks {
			fmt.Fprintf(&b, "  %s: %s\n", p.Name, strings.Join(strings.Fields(why), " "))
			n++
		}
	}
	if n == 0 {
		b.WriteString("  nothing: all of it is here\n")
	}
	b.WriteString(`
What was taken out:

  Passwords, tokens, keys and whatever else the pipeline file hides; what variables
  and files stand for in it, unless that is a host or a name; where such files are;
  comments. Nothing is here of any event, row or dead letter: of dead letters only
  how many there are of each reason. Findings that quote events are without their
  words. Literals in mutations, and in what tables say of other systems, are gone.
  In place of all that stands ***.

  What stays: names of hosts, users, topics, tables, columns and fields of events;
  statements that made the tables, with their comments and defaults; words of
  servers. Look before you send it.
`)
	return []byte(b.String())
}

// Write puts pieces that have been masked into a new file at path, the manifest first: whole, or not at all, and for its owner's eyes. A file that is
// there is not overwritten: the error is fs.ErrExist.
func Write(path string, h Head, pieces []Piece, m *Masker) (err error) {
	contents, ok := m.Bytes(Contents(h, pieces))
	if !ok {
		return errors.New("a secret could not be taken out of the manifest")
	}
	if err := free(path); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // 0600
	if err != nil {
		return err
	}
	defer func() {
		_ = f.Close() // again, where all is well
		_ = os.Remove(f.Name())
	}()
	if err := pack(f, h.At, append([]Piece{{Name: Manifest, Data: contents}}, pieces...)); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	// A link does not replace what somebody has put there meanwhile, as a rename would. Some file systems have none.
	if err := os.Link(f.Name(), path); err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := free(path); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// free is fs.ErrExist if there is something at path.
func free(path string) error {
	_, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err == nil:
		return &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
	}
	return err
}

// pack writes the archive. Its bytes follow from the pieces and the time alone.
func pack(f *os.File, at time.Time, pieces []Piece) error {
	z := gzip.NewWriter(f)
	t := tar.NewWriter(z)
	for i := range pieces {
		p := &pieces[i]
		if !p.There() {
			continue
		}
		err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: Folder + "/" + p.Name, Size: int64(len(p.Data)), Mode: 0o600, ModTime: at.UTC().Truncate(time.Second), Format: tar.FormatUSTAR})
		if err != nil {
			return err
		}
		if _, err := t.Write(p.Data); err != nil {
			return err
		}
	}
	return errors.Join(t.Close(), z.Close())
}

// Lines joins texts to a file of lines.
func Lines(rows []string) []byte {
	var b bytes.Buffer
	for _, r := range rows {
		b.WriteString(r)
		b.WriteByte('\n')
	}
	if b.Len() == 0 {
		return []byte{}
	}
	return b.Bytes()
}
