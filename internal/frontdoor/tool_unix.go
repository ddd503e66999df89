//go:build unix

package frontdoor

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
)

// group makes the tool a group leader, so that stopping it stops its children:
// npx and npm start the real tool as one.
func group(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}

// disband ends what an ended tool left running in its group.
func disband(cmd *exec.Cmd) {
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // mostly nobody is left
	}
}

// tryLock takes a file's lock; busy is true when another process has it. The lock
// ends with the process, however it ends.
func tryLock(path string) (unlock func(), busy bool, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return func() {}, false, nil // what cannot be locked cannot be written either
	} else if err != nil {
		return nil, false, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, syscall.EINTR), err
	}
	return func() { _ = f.Close() }, false, nil
}
