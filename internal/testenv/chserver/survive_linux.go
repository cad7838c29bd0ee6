//go:build !nodemo

package chserver

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"github.com/ebitengine/purego"
)

// surviveBrokenConnections keeps the engine alive when an exception leaves a native connection's handler.
//
// A server proper logs such an exception and closes the connection. The engine inside libchdb is that of a command-line tool
// and installs KillingErrorHandler, which calls std::terminate: a client that vanishes in the middle of an INSERT, or has a
// wrong password, would abort the server for everyone. So the three methods of that class are replaced, in its virtual method
// table, by a function that does nothing, as in the base class. The table is found by the class's run-time type information,
// which depends neither on the library's version nor on the processor. The engine must not run yet.
func surviveBrokenConnections(lib string) error {
	img, err := openImage(lib)
	if err != nil {
		return err
	}
	defer func() { _ = img.file.Close() }()
	const class = "19KillingErrorHandler" // its mangled name: length and letters
	table, err := img.methodTable(class)
	if err != nil {
		return err
	}
	nothing, err := purego.Dlsym(purego.RTLD_DEFAULT, "getpid") // takes nothing, changes nothing
	if err != nil {
		return err
	}
	// Two destructors; then exception(const Poco::Exception &), exception(const std::exception &), exception().
	return overwrite(table[2:5], nothing)
}

// image is a shared library in this process.
type image struct {
	file *elf.File
	base uintptr // what is added to the addresses in the file
}

func openImage(lib string) (*image, error) {
	base, err := loadAddress(lib)
	if err != nil {
		return nil, err
	}
	file, err := elf.Open(lib)
	if err != nil {
		return nil, err
	}
	return &image{file: file, base: base}, nil
}

// loadAddress is where the kernel's list of mappings has the library's first byte.
func loadAddress(lib string) (uintptr, error) {
	path, err := filepath.EvalSymlinks(lib)
	if err != nil {
		return 0, err
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(maps)) {
		// address perms offset dev inode path
		fields := strings.Fields(line)
		if len(fields) < 6 || fields[5] != path || strings.Trim(fields[2], "0") != "" {
			continue
		}
		from, _, _ := strings.Cut(fields[0], "-")
		addr, err := strconv.ParseUint(from, 16, 64)
		return uintptr(addr), err
	}
	return 0, fmt.Errorf("%s is not mapped", path)
}

// methodTable finds the virtual methods of a class: name -> type information -> table.
func (img *image) methodTable(class string) ([]uintptr, error) {
	name, err := img.findString(class)
	if err != nil {
		return nil, err
	}
	words, err := img.words(".data.rel.ro")
	if err != nil {
		return nil, err
	}
	for i, w := range words {
		if w != name || i == 0 {
			continue
		}
		typeInfo := uintptr(unsafe.Pointer(&words[i-1])) // its own table, then the name
		for j := 1; j+5 < len(words); j++ {
			if words[j] == typeInfo && words[j-1] == 0 { // the offset to the top, then the type information
				return words[j+1 : j+6], nil
			}
		}
	}
	return nil, fmt.Errorf("no table of methods for %s", class)
}

// findString returns the address of a NUL-terminated string constant. The constants are many: they are read piece by piece.
func (img *image) findString(s string) (uintptr, error) {
	section := img.file.Section(".rodata")
	if section == nil {
		return 0, errors.New("no .rodata")
	}
	const piece = 4 << 20
	needle := []byte("\x00" + s + "\x00")
	buf := make([]byte, piece)
	for at := int64(0); at < int64(section.Size); at += piece - int64(len(needle)) {
		n, err := section.ReadAt(buf, at)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		if i := bytes.Index(buf[:n], needle); i >= 0 {
			return img.base + uintptr(section.Addr) + uintptr(at) + uintptr(i) + 1, nil
		}
	}
	return 0, fmt.Errorf("%s is not in the library", s)
}

// words is a section as it lies in memory, its addresses filled in.
func (img *image) words(name string) ([]uintptr, error) {
	section := img.file.Section(name)
	if section == nil {
		return nil, fmt.Errorf("no %s", name)
	}
	const word = unsafe.Sizeof(uintptr(0))
	start := img.base + uintptr(section.Addr)
	return unsafe.Slice((*uintptr)(pointer(start)), uintptr(section.Size)/word), nil
}

// overwrite sets words that are read-only.
func overwrite(words []uintptr, value uintptr) error {
	page := uintptr(os.Getpagesize())
	first := uintptr(unsafe.Pointer(&words[0])) &^ (page - 1)
	last := uintptr(unsafe.Pointer(&words[len(words)-1]))&^(page-1) + page
	pages := unsafe.Slice((*byte)(pointer(first)), last-first)
	if err := syscall.Mprotect(pages, syscall.PROT_READ|syscall.PROT_WRITE); err != nil {
		return fmt.Errorf("mprotect: %w", err)
	}
	for i := range words {
		words[i] = value
	}
	return syscall.Mprotect(pages, syscall.PROT_READ)
}

// pointer makes an address outside Go's heap a pointer.
func pointer(addr uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&addr)) }
