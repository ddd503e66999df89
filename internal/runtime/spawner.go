package runtime

import (
	"errors"
	"os/exec"
	goruntime "runtime"
)

// spawner starts processes from one operating-system thread that lives as long
// as it does. Linux delivers Pdeathsig when the *thread* that forked ends: from
// an ordinary goroutine, a thread that somebody else retires (a locked goroutine
// that returns) would take healthy workers with it (golang/go#27505).
type spawner struct {
	jobs chan spawnJob
	quit chan struct{}
	done chan struct{}
}

type spawnJob struct {
	cmd *exec.Cmd
	err chan error
}

func newSpawner() *spawner {
	s := &spawner{jobs: make(chan spawnJob), quit: make(chan struct{}), done: make(chan struct{})}
	go func() {
		goruntime.LockOSThread()
		defer goruntime.UnlockOSThread()
		defer close(s.done)
		for {
			select {
			case j := <-s.jobs:
				j.err <- j.cmd.Start()
			case <-s.quit:
				return
			}
		}
	}()
	return s
}

func (s *spawner) start(cmd *exec.Cmd) error {
	j := spawnJob{cmd, make(chan error, 1)}
	select {
	case s.jobs <- j:
		return <-j.err
	case <-s.done:
		return errors.New("livegate is stopping")
	}
}

// close ends the goroutine; every process it started must have been reaped.
func (s *spawner) close() {
	close(s.quit)
	<-s.done
}
