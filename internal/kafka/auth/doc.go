// Package auth is how a client and brokers prove to each other who they are: TLS and the SASL mechanisms.
//
// Nothing is read once and kept: certificates, passwords, tokens and keytabs are read when a connection is opened, so what was rotated
// in a file is taken up by the next connection, and a pipeline that was refused goes on by itself once the file is right.
// Errors name files and hosts, never what is in them.
package auth

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/waybill-data/waybill"
)

// Text is a secret, or whatever else is read anew for each connection.
type Text func() (string, error)

// Fixed is a text that does not change.
func Fixed(s string) Text { return func() (string, error) { return s, nil } }

// File is what a file holds now, but for blanks and line ends around it: editors and `echo` leave those behind.
func File(path string) Text {
	return func() (string, error) {
		data, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		text := strings.TrimSpace(string(data))
		if text == "" {
			return "", fmt.Errorf("%s is empty", path)
		}
		return text, nil
	}
}

// fault is an error of what a connection is opened with. It heals: the next connection reads everything anew.
func fault(op string, err error, hint string) error {
	return &waybill.Error{Op: op, Position: waybill.Position{Partition: -1, Offset: -1}, Class: waybill.ClassRetryable, Hint: hint, Err: err}
}

// unreadable is the error of a file that a connection needs.
func unreadable(op, what string, err error) error {
	hint := "correct the file; it is read again by the next connection"
	switch {
	case errors.Is(err, os.ErrNotExist):
		hint = "put the file there, or correct its path in the pipeline file"
	case errors.Is(err, os.ErrPermission):
		hint = "let the user that Waybill runs as read it"
	}
	return fault(op, fmt.Errorf("%s: %w", what, err), hint)
}
