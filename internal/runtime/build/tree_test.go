package build

import (
	"archive/zip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestScanCopiesCodeAndLinksPackages(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	put(t, filepath.Join(outside, "shared.js"), "shared")
	for _, f := range []string{"index.js", "lib/a.js", "node_modules/x/index.js", "lib/node_modules/y/index.js", ".git/config", ".livegate/data", ".aws-sam/x", "own/build/x"} {
		put(t, filepath.Join(dir, f), f)
	}
	for link, target := range map[string]string{"inside.js": "lib/a.js", "shared.js": filepath.Join(outside, "shared.js"), "lib/up.js": "../../" + filepath.Base(outside) + "/shared.js"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	tr, err := scan(dir, filepath.Join(dir, "own", "build"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tr.hash(); err != nil { // sorts
		t.Fatal(err)
	}
	var got []string
	for _, e := range tr.entries {
		got = append(got, e.rel+" "+e.link)
	}
	want := []string{
		"index.js ", "inside.js lib/a.js", "lib/a.js ", "lib/node_modules " + filepath.Join(dir, "lib/node_modules"),
		"lib/up.js " + filepath.Join(filepath.Dir(dir), filepath.Base(outside), "shared.js"),
		"node_modules " + filepath.Join(dir, "node_modules"), "shared.js " + filepath.Join(outside, "shared.js"),
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	to := t.TempDir()
	if err := tr.write(to); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(to, "inside.js")); err != nil || string(text) != "lib/a.js" {
		t.Errorf("copied link reads %q, %v", text, err)
	}
}

func TestHashCoversNamesModesAndContent(t *testing.T) {
	hash := func(entries ...entry) string {
		h, err := (&tree{entries: entries}).hash()
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	base := hash(entry{rel: "a", data: []byte("bc"), mode: 0o644})
	for name, other := range map[string]string{
		"content": hash(entry{rel: "a", data: []byte("bd"), mode: 0o644}),
		"name":    hash(entry{rel: "b", data: []byte("bc"), mode: 0o644}),
		"mode":    hash(entry{rel: "a", data: []byte("bc"), mode: 0o755}),
		"link":    hash(entry{rel: "a", link: "bc"}),
		"split":   hash(entry{rel: "a", data: []byte("b"), mode: 0o644}, entry{rel: "b", data: []byte("c"), mode: 0o644}),
	} {
		if other == base {
			t.Errorf("another %s has the same hash", name)
		}
	}
	// Who may read a file does not matter to a worker, only who may execute it.
	if hash(entry{rel: "a", data: []byte("bc"), mode: 0o600}) != base {
		t.Error("the umask changes the hash")
	}
}

func archive(t *testing.T, files map[string]string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "x.zip")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	for name, text := range files {
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		w.Write([]byte(text))
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	f.Close()
	return file
}

func TestExtractStaysInside(t *testing.T) {
	for _, name := range []string{"../evil.js", "/etc/evil", "a/../../evil"} {
		dir := t.TempDir()
		err := extract(archive(t, map[string]string{name: "x"}), filepath.Join(dir, "in"))
		if err == nil || !strings.Contains(err.Error(), "lies outside") {
			t.Errorf("%s: %v", name, err)
		}
		if entries, _ := os.ReadDir(dir); len(entries) > 1 {
			t.Errorf("%s left %v", name, entries)
		}
	}
	dir := t.TempDir()
	if err := extract(archive(t, map[string]string{"d/": "", "d/x.js": "fine"}), dir); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "d", "x.js")); err != nil || string(text) != "fine" {
		t.Errorf("%q %v", text, err)
	}
	put(t, filepath.Join(dir, "not.zip"), "no archive")
	if err := extract(filepath.Join(dir, "not.zip"), dir); err == nil || !strings.Contains(err.Error(), "not a zip archive") {
		t.Errorf("err = %v", err)
	}
}

// "zip -y" keeps node_modules/.bin/x → ../x/cli.js: such an archive was refused,
// although the link stays inside. Links that do lead out, alone or through each
// other, must carry no file out with them.
func TestExtractLinks(t *testing.T) {
	type file struct{ name, link string }
	for want, files := range map[string][]file{
		"":                        {{"node_modules/x/cli.js", ""}, {"node_modules/.bin/x", "../x/cli.js"}},
		"outside of the archive":  {{"a/b", "../../out"}},
		"outside of  the archive": {{"a", "/tmp"}},
		"escapes":                 {{"here", "."}, {"here/up", ".."}, {"up/evil", ""}},
	} {
		path := filepath.Join(t.TempDir(), "x.zip")
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		z := zip.NewWriter(f)
		for _, x := range files {
			head, text := &zip.FileHeader{Name: x.name}, "text"
			head.SetMode(0o644)
			if x.link != "" {
				head.SetMode(0o777 | os.ModeSymlink)
				text = x.link
			}
			w, err := z.CreateHeader(head)
			if err != nil {
				t.Fatal(err)
			}
			w.Write([]byte(text))
		}
		z.Close()
		f.Close()
		dir := t.TempDir()
		err = extract(path, filepath.Join(dir, "in"))
		if want == "" {
			if text, err := os.ReadFile(filepath.Join(dir, "in", "node_modules/.bin/x")); err != nil || string(text) != "text" {
				t.Errorf("the link reads %q, %v", text, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), strings.ReplaceAll(want, "  ", " ")) {
			t.Errorf("%v: err = %v", files, err)
		}
		if entries, _ := os.ReadDir(dir); len(entries) != 1 {
			t.Errorf("%v left %v", files, entries)
		}
	}
}

// A build that dies half-way must not leave a directory that looks finished.
func TestProduceIsAllOrNothing(t *testing.T) {
	b, err := New(Config{Dir: t.TempDir(), SDKDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	dest := filepath.Join(b.cfg.Dir, "x", "hash")
	failing := func(tmp string) error {
		put(t, filepath.Join(tmp, "half"), "half")
		return os.ErrPermission
	}
	if err := b.produce(dest, failing); err == nil || isDir(dest) {
		t.Fatalf("a failed build left %s (%v)", dest, err)
	}
	runs := 0
	for range 3 {
		if err := b.produce(dest, func(tmp string) error { runs++; put(t, filepath.Join(tmp, "f"), "x"); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if runs != 1 || !isFile(filepath.Join(dest, "f")) {
		t.Errorf("built %d times", runs)
	}
	if left, _ := filepath.Glob(filepath.Join(b.cfg.Dir, "x", ".tmp-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestSDKImports(t *testing.T) {
	tr := &tree{entries: []entry{
		{rel: "a.js", data: []byte(`const AWS = require("aws-sdk/clients/dynamodb"); import x from '@aws-sdk/client-s3';`)},
		{rel: "b.mjs", data: []byte("await import(`@smithy/protocol-http`); const n = 'my-aws-sdk';")},
		{rel: "readme.md", data: []byte(`"@aws-sdk/client-sqs"`)},
	}}
	got, err := tr.sdkImports()
	if want := []string{"@aws-sdk/client-s3", "@smithy/protocol-http", "aws-sdk"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, want %q (%v)", got, want, err)
	}
}

func TestSDKPackagesAreTheUsualClients(t *testing.T) {
	names, err := sdkPackages()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"aws-sdk", "@aws-sdk/client-dynamodb", "@aws-sdk/lib-dynamodb", "@aws-sdk/util-dynamodb",
		"@aws-sdk/client-apigatewaymanagementapi", "@aws-sdk/client-lambda", "@aws-sdk/client-sqs", "@aws-sdk/client-sns",
		"@aws-sdk/client-eventbridge", "@aws-sdk/client-sts", "@aws-sdk/client-secrets-manager", "@aws-sdk/client-ssm",
		"@aws-sdk/client-s3", "@aws-sdk/client-sfn"} {
		if !names[name] {
			t.Errorf("the SDKs lack %s", name)
		}
	}
}

// CodeUri: / must fail at once, and not when the disk is full.
func TestScanIsBounded(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "index.js"), "x")
	for _, name := range []string{"a.bin", "b.bin"} { // sparse
		put(t, filepath.Join(dir, name), "")
		if err := os.Truncate(filepath.Join(dir, name), maxCode/2); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := scan(dir, ""); err == nil || !strings.Contains(err.Error(), "name a directory with the code alone") {
		t.Errorf("error %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "b.bin")); err != nil {
		t.Fatal(err)
	}
	if _, err := scan(dir, ""); err != nil {
		t.Error(err)
	}
}
