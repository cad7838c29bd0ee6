package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/waybill-data/waybill/bench/internal/result"
)

// verdict is an error if a target was missed that the document does not own up to.
func verdict(f *result.File, document string, p paths) error {
	shortfalls := result.Shortfalls(document)
	for _, id := range f.Kept(shortfalls) {
		fmt.Fprintf(os.Stderr, "%s names %s as a shortfall, which was not missed\n", p.doc, id)
	}
	var errs []error
	for _, t := range f.Unnamed(shortfalls) {
		errs = append(errs, fmt.Errorf("%s was missed, and is no known shortfall in %s", t.ID, p.doc))
	}
	return errors.Join(errs...)
}

// load reads both files. Medians and verdicts are worked out again: they follow from the runs, whatever the file says.
func load(p paths) (*result.File, string, error) {
	f, err := result.Load(p.out)
	if err != nil {
		return nil, "", err
	}
	f.Complete()
	document, err := os.ReadFile(p.doc)
	return f, string(document), err
}

func writeReport(p paths) error {
	f, document, err := load(p)
	if err != nil {
		return err
	}
	text, err := f.Report(document)
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(p.doc, []byte(text), 0o644), f.Save(p.out))
}

func checkReport(p paths) error {
	f, document, err := load(p)
	if errors.Is(err, fs.ErrNotExist) {
		return checkNone(p)
	}
	if err != nil {
		return err
	}
	if missing := f.Missing(); len(missing) > 0 {
		return fmt.Errorf("%s is not a whole benchmark:\n%s", p.out, strings.Join(missing, "\n"))
	}
	text, err := f.Report(document)
	if err != nil {
		return err
	}
	if text != document {
		return fmt.Errorf("%s does not show what is in %s (make bench-report)", p.doc, p.out)
	}
	return verdict(f, document, p)
}

// checkNone is for a tree in which no results are kept: then the document may show none either.
func checkNone(p paths) error {
	document, err := os.ReadFile(p.doc)
	if err != nil {
		return err
	}
	shows, err := result.Shows(string(document))
	if err == nil && shows {
		err = fmt.Errorf("%s shows results, but %s is not there", p.doc, p.out)
	}
	if err == nil {
		fmt.Fprintf(os.Stderr, "%s is not there, and %s shows no results: nothing to check\n", p.out, p.doc)
	}
	return err
}
