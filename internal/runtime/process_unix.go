//go:build unix

package runtime

import "syscall"

// killGroup kills a process and its children: workers are started as leaders of
// a process group of their own.
func killGroup(pid int) {
	// ESRCH: everybody is gone already.
	syscall.Kill(-pid, syscall.SIGKILL) //nolint:errcheck // nothing left to do about it
}
