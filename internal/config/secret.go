package config

import (
	"fmt"
	"io"
	"log/slog"
)

// redacted is what a Secret shows in place of its value, whatever its value is, the empty one too.
const redacted = "***"

// Secret is a value that must not be shown: it prints, logs and marshals as "***".
// Only Reveal gives it away. The zero value is the empty secret.
type Secret struct {
	// A function, because fmt walks into unexported fields, where it calls no methods: a string or a
	// pointer to one would be printed from there, a function is an address.
	reveal func() string
}

// NewSecret hides v.
func NewSecret(v string) Secret { return Secret{func() string { return v }} }

// Reveal is the value itself. Hand it to the client that needs it and to nothing else.
func (s Secret) Reveal() string {
	if s.reveal == nil {
		return ""
	}
	return s.reveal()
}

// Equal reports whether both hide the same value.
func (s Secret) Equal(o Secret) bool { return s.Reveal() == o.Reveal() }

// String is "***".
func (Secret) String() string { return redacted }

// GoString is "***".
func (Secret) GoString() string { return redacted }

// Format writes "***" for every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue is "***".
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText is "***"; it serves encoders of JSON, YAML and XML alike.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON is "***" as a JSON string.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalYAML is "***".
func (Secret) MarshalYAML() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
