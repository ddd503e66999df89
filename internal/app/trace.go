package app

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// atHome names the user's own files in a log line: functions run from a staged
// copy, and an editor that opens that copy from a stack trace edits what is thrown
// away. Files that the user does not have (bundles) keep their path.
func (a *App) atHome(text string) string {
	app, root := a.current(), filepath.Join(a.dirs.data, "build", "fn")+string(filepath.Separator)
	if app == nil || !strings.Contains(text, root) {
		return text
	}
	// Function, content hash, file. A file's name ends where the stack traces of
	// Node and Python end it. Compiled here because only a trace comes this far.
	staged := regexp.MustCompile(regexp.QuoteMeta(root) + `([^/\s]+)/[0-9a-f]+/task/([^\s:"'()]+)`)
	return staged.ReplaceAllStringFunc(text, func(path string) string {
		m := staged.FindStringSubmatch(path)
		for _, fn := range app.Functions {
			own := filepath.Join(fn.CodeDir, m[2])
			if fn.Name == m[1] && fn.CodeDir != "" {
				if _, err := os.Stat(own); err == nil {
					return own
				}
			}
		}
		return path
	})
}
