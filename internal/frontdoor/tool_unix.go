//go:build unix

package frontdoor

import (
	"os/exec"
	"syscall"
)

// group makes the tool a group leader, so that stopping it stops its children:
// npx and npm start the real tool as one.
func group(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
