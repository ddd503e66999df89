//go:build unix && !linux

package runtime

import (
	"os/exec"
	"syscall"
)

// prepare makes the process a group leader, so that its children die with it.
// When livegate dies, the bootstraps notice the end of their pipe.
func prepare(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
}

// awaitExit does nothing: only Linux needs a wait before the reaping wait here.
func awaitExit(int) {}
