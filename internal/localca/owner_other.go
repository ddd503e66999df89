//go:build !unix

package localca

import "io/fs"

// foreign is not knowable here.
func foreign(fs.FileInfo) (other, known bool) { return false, false }
