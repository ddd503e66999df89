package build

import (
	"archive/zip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

const (
	maxUnzipped = 250 << 20 // Lambda quota: deployment package, unzipped
	// A directory with more than Lambda takes may still be a package, of which
	// patterns leave some out; one with this much is a mistake (CodeUri: /), and
	// copying it would fill the disk.
	maxCode     = 4 * maxUnzipped
	maxEntries  = 500_000
	nameModules = "node_modules"
)

// entry is one file of a tree to stage: exactly one of path, data and link says
// what it is.
type entry struct {
	rel  string // slash-separated
	mode fs.FileMode
	path string // copied from
	data []byte
	link string // symbolic link to
}

// tree is what will become a function's directory.
type tree struct {
	entries []entry
}

func (t *tree) add(e entry) { t.entries = append(t.entries, e) }

func (t *tree) find(rel string) *entry {
	for i := range t.entries {
		if t.entries[i].rel == rel {
			return &t.entries[i]
		}
	}
	return nil
}

// skipped are directories that are never part of a function's code.
func skipped(name string) bool {
	switch name {
	case ".git", ".livegate", ".aws-sam", ".serverless", "cdk.out", ".terraform", "__pycache__", ".venv":
		return true
	}
	return false
}

// scan lists dir. node_modules directories become links: copying them would cost
// seconds, and they are not edited. except is a directory that must not be
// copied even when it lies inside (our own).
func scan(dir, except string) (*tree, error) {
	t := &tree{}
	left := int64(maxCode)
	// The directory itself may be a link (CodeUri: current): without the separator
	// WalkDir would see that link and no code.
	err := filepath.WalkDir(dir+string(filepath.Separator), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil || rel == "." {
			return err
		}
		e := entry{rel: filepath.ToSlash(rel)}
		switch {
		case d.Name() == nameModules && (d.IsDir() || d.Type()&fs.ModeSymlink != 0):
			e.link = path
		case d.IsDir() && (skipped(d.Name()) || path == except):
			return fs.SkipDir
		case d.IsDir():
			return nil
		case d.Type()&fs.ModeSymlink != 0:
			if e.link, err = relink(dir, path); err != nil {
				return err
			}
		case d.Type().IsRegular():
			info, err := d.Info()
			if err != nil {
				return err
			}
			e.path, e.mode = path, info.Mode().Perm()
			left -= info.Size()
		default:
			return nil // sockets and devices are not code
		}
		if t.add(e); left < 0 || len(t.entries) > maxEntries {
			return fmt.Errorf("%s holds more than %d MB or %d files beside node_modules (Lambda takes %d MB): name a directory with the code alone in CodeUri", dir, maxCode>>20, maxEntries, maxUnzipped>>20)
		}
		if d.IsDir() {
			return fs.SkipDir
		}
		return nil
	})
	return t, err
}

// unlinked is the tree with its node_modules as files of their own, for tools
// that may write to them: through a link they would write to the user's. above
// are the directories that this one is a part of; a link back to them stays one.
func (t *tree) unlinked(above ...string) (*tree, error) {
	out := &tree{}
	for _, e := range t.entries {
		if e.link == "" || path.Base(e.rel) != nameModules || !isDir(e.link) {
			out.add(e)
			continue
		}
		real, err := filepath.EvalSymlinks(e.link)
		if err != nil {
			return nil, err
		}
		if slices.Contains(above, real) {
			out.add(e)
			continue
		}
		modules, err := scan(real, "")
		if err != nil {
			return nil, err
		}
		if modules, err = modules.unlinked(append(slices.Clip(above), real)...); err != nil {
			return nil, err
		}
		for _, m := range modules.entries {
			m.rel = e.rel + "/" + m.rel
			out.add(m)
		}
	}
	return out, nil
}

// relink keeps a link that stays inside dir and makes any other absolute.
func relink(dir, path string) (string, error) {
	target, err := os.Readlink(path)
	if err != nil || filepath.IsAbs(target) {
		return target, err
	}
	if abs := filepath.Join(filepath.Dir(path), target); !within(dir, abs) {
		return abs, nil
	}
	return target, nil
}

// hash covers names, modes and content.
func (t *tree) hash() (string, error) {
	slices.SortFunc(t.entries, func(a, b entry) int { return strings.Compare(a.rel, b.rel) })
	h := sha256.New()
	for _, e := range t.entries {
		fmt.Fprintf(h, "%q %o %q %d\n", e.rel, e.mode&0o111, e.link, len(e.data))
		h.Write(e.data)
		if e.path == "" {
			continue
		}
		if err := hashFile(h, e.path); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil))[:20], nil
}

// hashFile adds one file's length and content to h.
func hashFile(h io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	n, err := io.Copy(h, f)
	fmt.Fprintf(h, " %d\n", n)
	return err
}

func hashStrings(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%q\n", p)
	}
	return hex.EncodeToString(h.Sum(nil))[:20]
}

// write creates the tree below dir, which must exist.
func (t *tree) write(dir string) error {
	for _, e := range t.entries {
		to := filepath.Join(dir, filepath.FromSlash(e.rel))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		var err error
		switch {
		case e.link != "":
			err = os.Symlink(e.link, to)
		case e.path != "":
			err = copyFile(e.path, to, e.mode|0o600)
		default:
			err = os.WriteFile(to, e.data, e.mode|0o600)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func copyFile(from, to string, mode fs.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}

// produce makes the directory dest once: fill writes into a temporary directory,
// which then takes its name. An existing dest is complete, because it can only
// have come into being by that rename.
func (b *Builder) produce(dest string, fill func(tmp string) error) error {
	if isDir(dest) {
		return nil
	}
	defer b.alone(dest)()
	if isDir(dest) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(dest), 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dest), ".tmp-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp) //nolint:errcheck // it has its final name by then, or is rubbish
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	if err := fill(tmp); err != nil {
		return err
	}
	if err := os.Rename(tmp, dest); err != nil && !isDir(dest) {
		return err
	}
	return nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// unzip extracts a deployment package. Names that leave the directory are
// refused, as is anything above Lambda's unzipped size.
func (b *Builder) unzip(file string) (dir string, err error) {
	h := sha256.New()
	if err := hashFile(h, file); err != nil {
		return "", err
	}
	dest := filepath.Join(b.cfg.Dir, "zip", hex.EncodeToString(h.Sum(nil))[:20])
	return dest, b.produce(dest, func(tmp string) error { return extract(file, tmp) })
}

func extract(file, dir string) error {
	z, err := zip.OpenReader(file)
	if err != nil {
		return fmt.Errorf("%s is not a zip archive: %w", file, err)
	}
	defer z.Close() //nolint:errcheck // only read
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	// Links of the archive may stand in the way of its later files: a root does not
	// follow one that leads out of it.
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // a directory, opened for reading
	left := int64(maxUnzipped)
	for _, f := range z.File {
		if !filepath.IsLocal(filepath.FromSlash(strings.TrimSuffix(f.Name, "/"))) {
			return fmt.Errorf("%s holds %q, which lies outside of it", file, f.Name)
		}
		to := filepath.Clean(filepath.FromSlash(f.Name))
		if strings.HasSuffix(f.Name, "/") {
			if err := root.MkdirAll(to, 0o755); err != nil {
				return err
			}
			continue
		}
		n, err := extractFile(f, root, to, left)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", file, f.Name, err)
		}
		left -= n
	}
	return nil
}

func extractFile(f *zip.File, root *os.Root, to string, left int64) (int64, error) {
	if err := root.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return 0, err
	}
	in, err := f.Open()
	if err != nil {
		return 0, err
	}
	defer in.Close()
	if f.Mode()&fs.ModeSymlink != 0 {
		target, err := io.ReadAll(io.LimitReader(in, 4096))
		if err != nil {
			return 0, err
		}
		leads := filepath.FromSlash(string(target))
		if filepath.IsAbs(leads) || !filepath.IsLocal(filepath.Join(filepath.Dir(to), leads)) {
			return 0, errors.New("it is a link that leads outside of the archive")
		}
		return 0, root.Symlink(leads, to)
	}
	out, err := root.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, f.Mode().Perm()|0o600)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(out, io.LimitReader(in, left+1))
	if err == nil && n > left {
		err = fmt.Errorf("the archive is larger than %d MB unzipped, Lambda's limit", maxUnzipped>>20)
	}
	return n, errors.Join(err, out.Close())
}
