//go:build !unix

package cli

import "os"

// resized: here nobody tells, and the next frame has the new size.
func (r *realScreen) resized() (changes <-chan os.Signal, stop func()) { return nil, func() {} }
