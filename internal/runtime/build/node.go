package build

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/livegate/livegate/internal/model"
)

const adviceNode = "install Node.js 16 or newer (https://nodejs.org) and start again"

// finishNode adds packages, layers and the SDK to a Node.js function and stages it.
func (b *Builder) finishNode(ctx context.Context, fn *model.Function, src *source, layers []string, out *Output) error {
	node := b.tools.node()
	if err := node.need("node", fn.Runtime, adviceNode); err != nil {
		return err
	}
	out.Command, out.Frames, out.RunsOn = []string{node.path}, true, "Node "+node.version
	major, _, _ := strings.Cut(node.version, ".")
	if fn.Runtime != "nodejs"+major+".x" {
		b.note(out, "%s runs on Node %s", fn.Runtime, node.version)
	}
	if err := nodeHandler(fn, src, len(layers) > 0); err != nil {
		return err
	}
	links := map[string]string{}
	for _, layer := range layers {
		for _, dir := range []string{filepath.Join(layer, "nodejs", nameModules), filepath.Join(layer, "nodejs", "node"+major, nameModules)} {
			if isDir(dir) {
				out.NodePath = append([]string{dir}, out.NodePath...) // the last layer wins
				if err := collect(dir, links); err != nil {
					return err
				}
			}
		}
	}
	if err := b.ownPackages(ctx, fn, src, links, out); err != nil {
		return err
	}
	if err := b.provideSDK(ctx, src, links, out); err != nil {
		return err
	}
	return b.stage(fn, src, links, out)
}

// nodeHandler checks that the handler's file is there, before the first call
// would have to say so.
func nodeHandler(fn *model.Function, src *source, layers bool) error {
	i := strings.LastIndexByte(fn.Handler, '/') + 1
	dot := strings.IndexByte(fn.Handler[i:], '.')
	if dot <= 0 {
		return &missingHandler{fmt.Sprintf("handler %q is not of the form FILE.EXPORT", fn.Handler)}
	}
	base := path.Clean(fn.Handler[:i+dot])
	for _, suffix := range []string{"", ".js", ".mjs", ".cjs", "/index.js", "/index.mjs"} {
		if src.tree.find(base+suffix) != nil {
			return nil
		}
	}
	if layers {
		return nil // a layer may hold it
	}
	where := src.dir
	if where == "" {
		where = "its inline code"
	}
	return &missingHandler{fmt.Sprintf("handler %q: there is no %s.js, .mjs, .cjs or .ts in %s", fn.Handler, base, where)}
}

// collect adds the packages of a node_modules directory: name → path.
func collect(dir string, links map[string]string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch {
		case strings.HasPrefix(e.Name(), "."):
		case strings.HasPrefix(e.Name(), "@"):
			scoped, err := os.ReadDir(filepath.Join(dir, e.Name()))
			if err != nil {
				return err
			}
			for _, s := range scoped {
				links[e.Name()+"/"+s.Name()] = filepath.Join(dir, e.Name(), s.Name())
			}
		default:
			links[e.Name()] = filepath.Join(dir, e.Name())
		}
	}
	return nil
}

// manifest is the part of a package.json that decides about installs.
type manifest struct {
	Dependencies         map[string]string `json:"dependencies"`
	OptionalDependencies map[string]string `json:"optionalDependencies"`
}

func readManifest(file string) (manifest, error) {
	var m manifest
	text, err := os.ReadFile(file)
	if err != nil {
		return m, err
	}
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	if err := json.Unmarshal(text, &m); err != nil {
		return m, fmt.Errorf("%s is not valid JSON: %w", file, err)
	}
	return m, nil
}

// ownPackages installs what package.json asks for when the code comes without
// node_modules, unless layers and the runtime's SDK have all of it: those are
// what an unbuilt function would find on AWS.
func (b *Builder) ownPackages(ctx context.Context, fn *model.Function, src *source, links map[string]string, out *Output) error {
	if src.dir == "" || src.tree.find(nameModules) != nil || src.tree.find("package.json") == nil {
		return nil
	}
	modules, err := b.installed(ctx, fn.Name, src.dir, links, out)
	if err != nil || modules == "" {
		return err
	}
	src.tree.add(entry{rel: nameModules, link: modules})
	return nil
}

// installed returns the node_modules for the package.json in dir; "" when none
// is needed, or cannot be had offline (noted).
func (b *Builder) installed(ctx context.Context, function, dir string, links map[string]string, out *Output) (string, error) {
	m, err := readManifest(filepath.Join(dir, "package.json"))
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	sdk, err := sdkPackages()
	if err != nil {
		return "", err
	}
	missing := false
	for name := range m.Dependencies {
		if links[name] == "" && !sdk[name] {
			missing = true
		}
	}
	if !missing {
		return "", nil
	}
	npm := b.tools.resolve("npm")
	if err := npm.need("npm", "package.json without node_modules", "install npm, or run npm install in "+dir); err != nil {
		return "", err
	}
	root, err := b.npmInstall(ctx, function, dir)
	if err != nil {
		if !b.cfg.Offline {
			return "", err
		}
		b.note(out, "its packages are not installed, and npm could get them neither from its cache nor from the network: run npm install in %s, or start once where there is a network", dir)
		return "", nil
	}
	return filepath.Join(root, nameModules), nil
}

// manifests are the files that decide what npm installs.
var manifests = [...]string{"package.json", "package-lock.json", "npm-shrinkwrap.json", ".npmrc"}

// npmInstall installs into npm/HASH. A lock file that names versions the registry
// does not have any more is given up: a newer version of a dependency runs, no
// dependency does not.
func (b *Builder) npmInstall(ctx context.Context, function, dir string) (string, error) {
	parts := []string{b.tools.node().version}
	for _, name := range manifests {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil {
			parts = append(parts, name, string(text))
		} else if !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
	}
	dest := filepath.Join(b.cfg.Dir, "npm", hashStrings(parts...))
	return dest, b.produce(dest, func(tmp string) error {
		return b.step(function, "npm install", func() error {
			for _, name := range manifests {
				if file := filepath.Join(dir, name); isFile(file) {
					if err := copyFile(file, filepath.Join(tmp, name), 0o644); err != nil {
						return err
					}
				}
			}
			folders, err := relocate(filepath.Join(tmp, "package.json"), dir)
			if err != nil {
				return err
			}
			if err := b.npm(ctx, tmp); err != nil {
				return err
			}
			return folders.write(tmp)
		})
	})
}

// relocate adapts the package.json that was copied from dir: "file:../x" becomes
// absolute, and the project's own scripts go, because "prepare" runs on install
// and calls development tools (husky) that are not there. Folders are taken out
// of it and returned as the links that npm would make of them: npm would also
// run their install scripts, in the user's tree.
func relocate(file, dir string) (*tree, error) {
	folders := &tree{}
	fields, err := readFields(file)
	if err != nil {
		return nil, err
	}
	delete(fields, "scripts")
	local := false
	for _, name := range []string{"dependencies", "optionalDependencies"} {
		var deps map[string]string
		if fields[name] == nil || json.Unmarshal(fields[name], &deps) != nil {
			continue // npm says what is wrong with it
		}
		for dep, version := range deps {
			at, ok := strings.CutPrefix(version, "file:")
			if !ok {
				continue
			}
			local = true
			if !filepath.IsAbs(at) {
				at = filepath.Join(dir, at)
			}
			deps[dep] = "file:" + at
			if isDir(at) && filepath.IsLocal(filepath.FromSlash(dep)) {
				folders.add(entry{rel: nameModules + "/" + dep, link: at})
				delete(deps, dep)
			}
		}
		if fields[name], err = json.Marshal(deps); err != nil {
			return nil, err
		}
	}
	if local { // a lock file names the relative path too
		if err := removeLocks(filepath.Dir(file)); err != nil {
			return nil, err
		}
	}
	return folders, writeFields(file, fields)
}

func readFields(file string) (map[string]json.RawMessage, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")), &fields); err != nil {
		return nil, fmt.Errorf("%s is not valid JSON: %w", file, err)
	}
	return fields, nil
}

func writeFields(file string, fields map[string]json.RawMessage) error {
	text, err := json.Marshal(fields)
	if err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o644)
}

func removeLocks(dir string) error {
	for _, name := range manifests[1:3] {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// npm installs the package.json in dir: exactly by the lock file, else without it.
func (b *Builder) npm(ctx context.Context, dir string) error {
	flags := []string{"--omit=dev", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"}
	if b.cfg.Offline {
		// The cache first; and where there is no network, say so at once: npm's own
		// retries take over a minute.
		flags = append(flags, "--prefer-offline", "--fetch-retries=0")
	}
	npm := b.tools.resolve("npm").path
	locked := isFile(filepath.Join(dir, "package-lock.json")) || isFile(filepath.Join(dir, "npm-shrinkwrap.json"))
	if locked {
		if err := run(ctx, dir, nil, npm, append([]string{"ci"}, flags...)...); err == nil || ctx.Err() != nil {
			return err
		}
		if err := errors.Join(os.RemoveAll(filepath.Join(dir, nameModules)), removeLocks(dir)); err != nil {
			return err
		}
	}
	// npm resolves development dependencies even when told to omit them: one that
	// is gone from the registry would fail the install.
	file := filepath.Join(dir, "package.json")
	fields, err := readFields(file)
	if err != nil {
		return err
	}
	delete(fields, "devDependencies")
	if err := writeFields(file, fields); err != nil {
		return err
	}
	return run(ctx, dir, nil, npm, append([]string{"install", "--no-package-lock"}, flags...)...)
}

// sdkImport matches the package name in an import or require of the SDK.
var sdkImport = regexp.MustCompile("[\"'`]((?:@aws-sdk|@smithy|@aws-crypto)/[a-z0-9-]+|aws-sdk)(?:/[^\"'`\\s]*)?[\"'`]")

// sdkImports lists the SDK packages that the code names, node_modules aside.
func (t *tree) sdkImports() ([]string, error) {
	found := map[string]bool{}
	for _, e := range t.entries {
		if e.link != "" {
			continue
		}
		switch path.Ext(e.rel) {
		case ".js", ".mjs", ".cjs":
		default:
			continue
		}
		text := e.data
		if e.path != "" {
			var err error
			if text, err = os.ReadFile(e.path); err != nil {
				return nil, err
			}
		}
		if !bytes.Contains(text, []byte("aws-sdk")) && !bytes.Contains(text, []byte("@smithy/")) && !bytes.Contains(text, []byte("@aws-crypto/")) {
			continue
		}
		for _, m := range sdkImport.FindAllSubmatch(text, -1) {
			found[string(m[1])] = true
		}
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// provideSDK makes the runtime's SDKs visible, installing them when the function
// names a package of theirs that it does not bring along. They are linked
// whenever they are there: packages that expect them as peers find them too.
func (b *Builder) provideSDK(ctx context.Context, src *source, links map[string]string, out *Output) error {
	names, err := src.tree.sdkImports()
	if err != nil {
		return fmt.Errorf("its code cannot be read: %w", err)
	}
	own := ""
	if e := src.tree.find(nameModules); e != nil {
		own = e.link
	}
	needed := ""
	for _, name := range names {
		if links[name] == "" && (own == "" || !isDir(filepath.Join(own, name))) {
			needed = name
			break
		}
	}
	sdk, err := b.sdk(ctx, needed != "")
	switch {
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case err != nil && b.cfg.Offline:
		b.note(out, "it imports %s, a part of the AWS SDK that Lambda provides; it is not installed yet, and npm could get it neither from its cache nor from the network: start once where there is a network", needed)
		return nil
	case err != nil:
		return fmt.Errorf("it imports %s, a part of the AWS SDK that Lambda provides, and installing that failed: %w", needed, err)
	case sdk == "":
		return nil
	}
	out.NodePath = append(out.NodePath, sdk)
	return b.linkSDK(sdk)
}

// linkSDK points Dir/node_modules at the SDK.
func (b *Builder) linkSDK(sdk string) error {
	link := filepath.Join(b.cfg.Dir, nameModules)
	defer b.alone(link)()
	if target, err := os.Readlink(link); err == nil && target == sdk {
		return nil
	}
	tmp := filepath.Join(b.cfg.Dir, "tmp", "sdk-link")
	if err := os.MkdirAll(filepath.Dir(tmp), 0o755); err != nil {
		return err
	}
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Symlink(sdk, tmp); err != nil {
		return err
	}
	return os.Rename(tmp, link)
}
