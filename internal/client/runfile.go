package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/livegate/livegate/internal/fault"
)

// RunFile says where an instance listens and how to prove that one may command
// it. It lies in the instance's data directory as run.json, mode 0600, while the
// instance runs, and once more in an index in the user's own directory, so that
// `livegate status` works from any folder.
type RunFile struct {
	PID       int       `json:"pid"`
	URL       string    `json:"url"`   // http://127.0.0.1:3001
	Token     string    `json:"token"` // bearer token; never shown
	Version   string    `json:"version"`
	StartedAt time.Time `json:"startedAt"`
	Stack     string    `json:"stack"`
	CAFile    string    `json:"caFile"`  // PEM that wss://localhost is signed with
	DataDir   string    `json:"dataDir"` // absolute
	// Birth is when the process started, in the kernel's ticks. A pid is used
	// again sooner or later: after a kill -9, the run file may name the pid that
	// now belongs to an editor, and only the birth tells. "" where the system
	// does not say.
	Birth string `json:"birth,omitempty"`
}

// Errors of Find.
var (
	ErrNotRunning = errors.New("no running instance")
	ErrAmbiguous  = errors.New("several instances are running")
)

// runName is the run file's name in a data directory.
const runName = "run.json"

// DefaultDataDir is where the state of the application at path (a directory or a
// template file, "" for the current directory) lives: .livegate beside the template.
func DefaultDataDir(path string) (string, error) {
	dir, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if st, err := os.Stat(dir); err == nil && !st.IsDir() {
		dir = filepath.Dir(dir)
	}
	return filepath.Join(dir, ".livegate"), nil
}

// DefaultCacheDir is the user's own directory (SDKs, the local CA, the index of
// running instances): $XDG_DATA_HOME/livegate, else ~/.local/share/livegate.
func DefaultCacheDir(getenv func(string) string) (string, error) {
	if dir := getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "livegate"), nil
	}
	if home := getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "share", "livegate"), nil
	}
	return "", fault.New(fault.BadRequest, "cannot tell where your data directory is: set HOME or XDG_DATA_HOME to an absolute path")
}

// WriteRunFile announces a running instance: into dataDir and, unless cacheDir is
// "", into the index of that user directory. Empty PID, StartedAt, DataDir and Birth are filled in.
func WriteRunFile(dataDir, cacheDir string, r RunFile) (err error) {
	defer fault.Wrap(&err, "write the run file")
	if r.PID == 0 {
		r.PID = os.Getpid()
	}
	if r.StartedAt.IsZero() {
		r.StartedAt = time.Now()
	}
	if r.DataDir, err = filepath.Abs(dataDir); err != nil {
		return err
	}
	if r.Birth == "" {
		r.Birth, _ = birth(r.PID)
	}
	body, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	for _, path := range paths(dataDir, cacheDir, r.PID) {
		if err := replace(path, append(body, '\n')); err != nil {
			return err
		}
	}
	return nil
}

// RemoveRunFile takes back what WriteRunFile of this process wrote. Files of
// another process are left alone.
func RemoveRunFile(dataDir, cacheDir string) error {
	var errs []error
	for _, path := range paths(dataDir, cacheDir, os.Getpid()) {
		if r, err := readRunFile(path); err == nil && r.PID == os.Getpid() {
			errs = append(errs, os.Remove(path))
		}
	}
	return errors.Join(errs...)
}

// ReadRunFile reads the run file of a data directory. ErrNotRunning when there
// is none or its process is gone.
func ReadRunFile(dataDir string) (RunFile, error) {
	return live(filepath.Join(dataDir, runName))
}

// Find looks for the instance that a command means: the one of dataDir, else the
// only live one of the user. ErrNotRunning when there is none; ErrAmbiguous, with
// their names, when several run and dataDir has none.
func Find(dataDir, cacheDir string) (RunFile, error) {
	r, err := ReadRunFile(dataDir)
	if err == nil || !errors.Is(err, ErrNotRunning) || cacheDir == "" {
		return r, err
	}
	all, err := List(cacheDir)
	if err != nil {
		return RunFile{}, err
	}
	switch len(all) {
	case 0:
		return RunFile{}, ErrNotRunning
	case 1:
		return all[0], nil
	}
	var names []string
	for _, r := range all {
		names = append(names, fmt.Sprintf("%s (%s, --data-dir %s)", r.Stack, r.URL, r.DataDir))
	}
	return RunFile{}, fmt.Errorf("%w: %s", ErrAmbiguous, strings.Join(names, "; "))
}

// List returns the user's live instances and sweeps away index entries of dead ones.
func List(cacheDir string) ([]RunFile, error) {
	found, err := filepath.Glob(filepath.Join(escape(cacheDir), "run", "*.json"))
	if err != nil {
		return nil, err
	}
	var all []RunFile
	for _, path := range found {
		switch r, err := live(path); {
		case err == nil:
			all = append(all, r)
		case errors.Is(err, ErrNotRunning):
			_ = os.Remove(path) // another process may have swept it first
		}
	}
	return all, nil
}

// WaitGone returns when the instance's process has ended or ctx has.
func (r RunFile) WaitGone(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for r.Alive() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
	return nil
}

// Alive reports whether the very process that wrote the file still runs.
func (r RunFile) Alive() bool {
	if r.PID <= 0 {
		return false
	}
	if err := syscall.Kill(r.PID, 0); err != nil && !errors.Is(err, syscall.EPERM) {
		return false
	}
	now, state := birth(r.PID)
	if state == "Z" { // killed, and nobody has waited for it: a container without init
		return false
	}
	return r.Birth == "" || now == "" || now == r.Birth
}

func live(path string) (RunFile, error) {
	r, err := readRunFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return r, ErrNotRunning
	case err != nil:
		return r, err
	case !r.Alive():
		return r, ErrNotRunning
	}
	return r, nil
}

func readRunFile(path string) (r RunFile, err error) {
	body, err := os.ReadFile(path)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(body, &r); err != nil {
		// Replaced atomically, so never half written: somebody else's file.
		return r, fault.New(fault.BadRequest, "%s is not a run file (%v): remove it and start again", path, err)
	}
	return r, nil
}

func paths(dataDir, cacheDir string, pid int) []string {
	out := []string{filepath.Join(dataDir, runName)}
	if cacheDir != "" {
		out = append(out, filepath.Join(cacheDir, "run", strconv.Itoa(pid)+".json"))
	}
	return out
}

// replace writes a file that is either whole or not there, readable by its owner only.
func replace(path string, body []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".run-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(body)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// birth is field 22 of /proc/PID/stat (proc(5): starttime), state field 3. The second field is
// the command in parentheses and may itself hold spaces and parentheses, so
// counting starts after the last one.
func birth(pid int) (born, state string) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return "", ""
	}
	s := string(stat)
	fields := strings.Fields(s[strings.LastIndexByte(s, ')')+1:])
	if len(fields) < 20 {
		return "", ""
	}
	return fields[19], fields[0]
}

func escape(dir string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}
