package frontdoor

import (
	"archive/zip"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// memory remembers which directory an artifact was a plain copy of when it was
// made: after an edit the two differ, and the directory is still the one to run.
type memory struct {
	file    string // "" keeps nothing
	records map[string]record
	dirty   bool
}

type record struct {
	Modified time.Time `json:"modified"` // of the artifact
	Size     int64     `json:"size"`
	Source   string    `json:"source"` // "" when it is no plain copy
	// Files is the digest of what a packager's output was made of, by names, times
	// and sizes: a file that is gone has no time to compare. "" is not known.
	Files string `json:"files,omitempty"`
}

// made remembers what an output was made of.
func (m *memory) made(output string, files []string) {
	if info, err := os.Stat(output); err == nil {
		m.records[output] = record{Modified: info.ModTime(), Size: info.Size(), Files: digest(files)}
		m.dirty = true
	}
}

// changed reports whether an output that was remembered is made of other files now.
func (m *memory) changed(output string, files []string) bool {
	info, err := os.Stat(output)
	r := m.records[output]
	return err == nil && r.Files != "" && r.Modified.Equal(info.ModTime()) && r.Size == info.Size() && r.Files != digest(files)
}

func digest(files []string) string {
	h := fnv.New128a()
	for _, f := range slices.Sorted(slices.Values(files)) {
		if info, err := os.Stat(f); err == nil {
			fmt.Fprintf(h, "%q %d %d\n", f, info.ModTime().UnixNano(), info.Size())
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// locked keeps other processes from packaging the same project.
func (c *Config) locked(ctx context.Context) (release func(), err error) {
	if c.DataDir == "" || c.ReadOnly {
		return func() {}, nil
	}
	return c.alone(ctx, filepath.Join(c.DataDir, lockName))
}

func (c *Config) remember() *memory {
	m := &memory{records: map[string]record{}}
	if c.DataDir == "" {
		return m
	}
	m.file = filepath.Join(c.DataDir, "frontdoor.json")
	if data, err := os.ReadFile(m.file); err == nil {
		_ = json.Unmarshal(data, &m.records) // unreadable: compare again
	}
	if m.records == nil {
		m.records = map[string]record{}
	}
	return m
}

// source is the directory that an artifact is a plain copy of, "" when it is
// none. compare decides for an artifact that is new or was made again.
func (m *memory) source(artifact string, compare func() string) string {
	info, err := os.Stat(artifact)
	if err != nil {
		return ""
	}
	size := info.Size()
	if info.IsDir() {
		size = 0
	}
	if r, ok := m.records[artifact]; ok && r.Modified.Equal(info.ModTime()) && r.Size == size && (r.Source == "" || isDir(r.Source)) {
		return r.Source
	}
	r := record{Modified: info.ModTime(), Size: size, Source: compare()}
	m.records[artifact] = r
	m.dirty = true
	return r.Source
}

// save keeps the records of artifacts that still exist.
func (m *memory) save() error {
	if m.file == "" || !m.dirty {
		return nil
	}
	for path := range m.records {
		if _, err := os.Stat(path); err != nil {
			delete(m.records, path)
		}
	}
	data, err := json.MarshalIndent(m.records, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(m.file), 0o755); err != nil {
		return err
	}
	temp := m.file + ".new"
	if err := os.WriteFile(temp, data, 0o644); err != nil {
		return err
	}
	return os.Rename(temp, m.file)
}

// zipOf reports whether every file of an archive stands in dir with the same
// content. Installed packages are compared by size: they are many and nobody
// edits them.
func zipOf(archive, dir string) bool {
	z, err := zip.OpenReader(archive)
	if err != nil {
		return false
	}
	defer func() { _ = z.Close() }() // opened for reading
	files := 0
	for _, f := range z.File {
		if strings.HasSuffix(f.Name, "/") {
			continue
		}
		name := filepath.FromSlash(f.Name)
		if !filepath.IsLocal(name) {
			return false
		}
		files++
		full := filepath.Join(dir, name)
		info, err := os.Stat(full)
		if err != nil || info.IsDir() || uint64(info.Size()) != f.UncompressedSize64 {
			return false
		}
		if strings.HasPrefix(f.Name, "node_modules/") {
			continue
		}
		if sum, err := checksum(full); err != nil || sum != f.CRC32 {
			return false
		}
	}
	return files > 0
}

// copyOf reports whether every file below artifact stands in dir with the same
// content.
func copyOf(artifact, dir string) bool {
	files := 0
	err := filepath.WalkDir(artifact, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(artifact, path)
		if err != nil {
			return err
		}
		files++
		a, err := checksum(path)
		if err != nil {
			return err
		}
		if b, err := checksum(filepath.Join(dir, rel)); err != nil || a != b {
			return fs.ErrNotExist
		}
		return nil
	})
	return err == nil && files > 0
}

func checksum(path string) (uint32, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	h := crc32.NewIEEE()
	if _, err := io.Copy(h, f); err != nil {
		return 0, err
	}
	return h.Sum32(), nil
}

const maxSources = 20000 // files looked at in a project

// sources lists the files that a project is made of: what a person edits, not
// what tools leave behind. skip names further directories by absolute path.
func sources(root string, skip ...string) []string {
	var out []string
	_ = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil // removed while walking, or not readable
		case e.IsDir() && path != root && (generated(e.Name()) || slices.Contains(skip, path)):
			return filepath.SkipDir
		case e.IsDir() || generated(e.Name()):
			return nil
		case e.Type()&fs.ModeSymlink != 0 && isFile(path): // of a monorepo: newest looks at what it leads to
		case !e.Type().IsRegular():
			return nil
		case len(out) >= maxSources:
			return filepath.SkipAll
		}
		out = append(out, path)
		return nil
	})
	return out
}

func generated(name string) bool {
	switch name {
	case ".git", ".livegate", ".serverless", ".aws-sam", "cdk.out", "node_modules", "__pycache__", ".venv", "venv", ".idea", ".vscode", "coverage", ".pytest_cache", ".mypy_cache", ".DS_Store":
		return true
	}
	return strings.HasSuffix(name, "~") || strings.HasSuffix(name, ".swp") || strings.HasSuffix(name, ".pyc") || strings.HasPrefix(name, adapted)
}

// newest is the latest modification among files; zero without any.
func newest(files []string) (at time.Time, file string) {
	for _, f := range files {
		if info, err := os.Stat(f); err == nil && info.ModTime().After(at) {
			at, file = info.ModTime(), f
		}
	}
	return at, file
}

// below reports whether path is dir or stands below it.
func below(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}
