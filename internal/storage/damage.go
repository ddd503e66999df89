package storage

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/livegate/livegate/internal/fault"
)

// damage is what a checksum failure panics with; guard turns it into an error.
type damage struct{ what string }

func (d damage) String() string { return d.what }

func damagedFile(path string, what any) error {
	return fault.New(fault.Internal, "%s is damaged (%v): restore it from a copy, or start over with `livegate reset`", path, what)
}

// guard makes damage to the file reportable. The engine trusts its pages: a bad
// one makes it panic, or read past the end of the mapped file, which the kernel
// answers with a fault that kills the process unless the goroutine asks for a
// panic instead (debug.SetPanicOnFault).
//
// Use as `defer guard(report)()`. A panic that did not start in the engine is
// somebody's bug and travels on.
func guard(report func(p any)) func() {
	old := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(old)
		p := recover()
		if p == nil {
			return
		}
		if !fromEngine(p) {
			panic(p)
		}
		report(p)
	}
}

// survive is guard for reads, which are many: the same without closures. Use as
// `defer db.survive(debug.SetPanicOnFault(true), &err)`.
func (db *DB) survive(old bool, err *error) {
	debug.SetPanicOnFault(old)
	p := recover()
	if p == nil {
		return
	}
	if !fromEngine(p) {
		panic(p)
	}
	*err = damagedFile(db.path, p)
}

// fromEngine says whether the panic being recovered began in the engine, in a
// checksum, or by touching a page that the file no longer has (such a fault has
// an address; a nil pointer, which is a bug, has none). It must be called from the deferred function, while the panicking
// frames are still on the stack.
func fromEngine(p any) bool {
	if _, ok := p.(damage); ok {
		return true
	}
	if _, ok := p.(interface{ Addr() uintptr }); ok {
		return true
	}
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	panicking := false
	for {
		f, more := frames.Next()
		switch {
		case strings.HasPrefix(f.Function, "runtime."):
			panicking = panicking || strings.Contains(f.Function, "panic")
		case panicking:
			return strings.HasPrefix(f.Function, "go.etcd.io/bbolt")
		}
		if !more {
			return false
		}
	}
}

// asError is the panic value of a foreign function, kept with its stack so that
// the caller of Update sees where the bug is.
type asError struct {
	value any
	stack []byte
}

func (e *asError) Error() string { return fmt.Sprintf("panic: %v\n%s", e.value, e.stack) }
