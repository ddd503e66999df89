package runtime

import (
	"errors"
	"os/exec"
	"syscall"
	"unsafe"
)

// prepare makes the process a group leader, so that its children die with it,
// and lets the kernel kill it when livegate dies, however that happens.
func prepare(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// awaitExit blocks until the child has exited without reaping it: as long as it
// is not reaped, its id (which names the group) cannot be given to anybody else.
func awaitExit(pid int) {
	const (
		pPID    = 1 // P_PID of waitid(2)
		wExited = 4
		wNoWait = 0x1000000
	)
	var info [128]byte // siginfo_t
	for {
		_, _, errno := syscall.Syscall6(syscall.SYS_WAITID, pPID, uintptr(pid),
			uintptr(unsafe.Pointer(&info)), wExited|wNoWait, 0, 0)
		if !errors.Is(errno, syscall.EINTR) {
			return
		}
	}
}
