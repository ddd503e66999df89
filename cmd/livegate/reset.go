package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/livegate/livegate/internal/client"
	"github.com/livegate/livegate/internal/fault"
)

func (c *cli) resetCommand() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "reset [dir|template]",
		Short: "Remove an application's local state: tables, builds, journal",
		Long: `Remove the state directory (.livegate beside the template, or --data-dir): table
data, builds and the journal. The template, the code and the user-wide cache (SDKs,
local CA) stay. Refused while an instance uses the state.`,
		Args: atMost(1),
		RunE: func(_ *cobra.Command, args []string) error {
			path := ""
			if len(args) == 1 {
				path = args[0]
				if _, err := os.Stat(path); err != nil {
					return usagef("%s: no such directory or template", path)
				}
			}
			data, _, err := c.dirs(path)
			if err != nil {
				return err
			}
			return c.reset(data, yes)
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

func (c *cli) reset(data string, yes bool) error {
	info, err := os.Lstat(data)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		fmt.Fprintf(c.out, "nothing to remove: %s does not exist\n", data)
		return nil
	case err != nil:
		return err
	case !info.IsDir():
		return fault.New(fault.BadRequest, "%s is not a directory: it was not made by livegate", data)
	}
	if err := ours(data); err != nil {
		return err
	}
	if run, err := client.ReadRunFile(data); err == nil {
		return fault.New(fault.Conflict, "an instance uses %s (stack %s, pid %d, %s): stop it first", data, run.Stack, run.PID, run.URL)
	} else if !errors.Is(err, client.ErrNotRunning) {
		return err
	}
	if held := lockedFile(data); held != "" {
		return fault.New(fault.Conflict, "another process has %s open: stop it first", held)
	}
	files, bytes := size(data)
	fmt.Fprintf(c.out, "This removes %s: %s, %s (tables, builds, journal).\n", data, count(files, "file"), humanBytes(bytes))
	if !yes {
		if err := c.confirm(); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(data); err != nil {
		return err
	}
	fmt.Fprintln(c.out, "Removed.")
	return nil
}

// confirm asks on a terminal; without one, --yes is the only consent.
func (c *cli) confirm() error {
	if f, ok := c.in.(*os.File); !ok || !isTerminal(f) {
		return &usageError{msg: "nobody to ask: standard input is not a terminal", hint: "add --yes"}
	}
	fmt.Fprint(c.out, "Remove it? [y/N] ")
	line, _ := bufio.NewReader(c.in).ReadString('\n') // an end of input is a no
	if answer := strings.ToLower(strings.TrimSpace(line)); answer != "y" && answer != "yes" {
		fmt.Fprintln(c.out, "Nothing was removed.")
		return errReported
	}
	return nil
}

// ours refuses to remove a directory that livegate did not make: `livegate reset
// --data-dir ~` is one slip away. Ours has the .gitignore that hides it, or
// holds nothing.
func ours(data string) error {
	entries, err := os.ReadDir(data)
	if err != nil || len(entries) == 0 {
		return err
	}
	mark, err := os.ReadFile(filepath.Join(data, ".gitignore"))
	if err != nil || strings.TrimSpace(string(mark)) != "*" {
		return fault.New(fault.BadRequest, "%s does not look like livegate's state (no .gitignore with * in it): remove it by hand if you are sure", data)
	}
	return nil
}

// lockedFile names a database in data that a process holds open: bbolt locks its
// file with flock(2), so this also sees instances whose run file was lost.
func lockedFile(data string) string {
	found, err := filepath.Glob(filepath.Join(data, "*.db"))
	if err != nil {
		return ""
	}
	for _, path := range found {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			continue
		}
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		f.Close() // gives the lock back
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return path
		}
	}
	return ""
}

func size(dir string) (files int, bytes int64) {
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil // what cannot be read is reported by the removal
		}
		files++
		if info, err := e.Info(); err == nil {
			bytes += info.Size()
		}
		return nil
	})
	return files, bytes
}

func humanBytes(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d bytes", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}
