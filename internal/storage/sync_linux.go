package storage

import (
	"errors"
	"os"
	"syscall"
)

// syncData brings a file's content to the disk, and of what the file system knows
// about it only what is needed to read it back.
func syncData(f *os.File) error {
	for {
		if err := syscall.Fdatasync(int(f.Fd())); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
