//go:build unix

package localca

import (
	"io/fs"
	"os"
	"syscall"
)

// foreign reports whether a file belongs to somebody else than the user or root.
func foreign(info fs.FileInfo) (other, known bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return false, false
	}
	return st.Uid != 0 && int(st.Uid) != os.Geteuid(), true
}
