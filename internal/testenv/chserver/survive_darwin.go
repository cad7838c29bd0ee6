//go:build !nodemo

package chserver

import "errors"

// surviveBrokenConnections has not been done for this system; see survive_linux.go.
func surviveBrokenConnections(string) error { return errors.ErrUnsupported }
