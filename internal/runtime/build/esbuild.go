package build

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/evanw/esbuild/pkg/api"

	"github.com/livegate/livegate/internal/model"
)

// typeScript is the source file of a handler that is only there in TypeScript; ""
// otherwise.
func typeScript(handler, dir string) string {
	i := strings.LastIndexByte(handler, '/') + 1
	name, _, ok := strings.Cut(handler[i:], ".")
	if !ok {
		return ""
	}
	base := filepath.Join(dir, filepath.FromSlash(handler[:i]+name))
	for _, ext := range []string{".js", ".mjs", ".cjs"} {
		if isFile(base + ext) {
			return ""
		}
	}
	for _, ext := range []string{".ts", ".mts", ".cts", ".tsx"} {
		if isFile(base + ext) {
			return base + ext
		}
	}
	return ""
}

// bundle runs esbuild as SAM's BuildMethod does; a TypeScript handler without
// metadata is bundled too. The SDKs of the runtime stay outside of bundles.
func (b *Builder) bundle(ctx context.Context, fn *model.Function, dir string, out *Output) (*source, error) {
	options, err := b.bundleOptions(ctx, fn, dir, out)
	if err != nil {
		return nil, err
	}
	result := api.Build(options)
	if len(result.Errors) > 0 {
		text := api.FormatMessages(result.Errors, api.FormatMessagesOptions{Kind: api.ErrorMessage})
		return nil, fmt.Errorf("esbuild failed:\n%s", strings.TrimSpace(strings.Join(text, "")))
	}
	if err := b.remember(fn, dir, result.Metafile); err != nil {
		return nil, err
	}
	t := &tree{}
	for _, f := range result.OutputFiles {
		rel, err := filepath.Rel(options.Outdir, f.Path)
		if err != nil {
			return nil, err
		}
		t.add(entry{rel: filepath.ToSlash(rel), mode: 0o644, data: f.Contents})
	}
	// What stays external must be found at run time.
	if modules := filepath.Join(dir, nameModules); isDir(modules) {
		t.add(entry{rel: nameModules, link: modules})
	}
	return &source{dir: "the esbuild output of " + dir, tree: t}, nil
}

func (b *Builder) bundleOptions(ctx context.Context, fn *model.Function, dir string, out *Output) (api.BuildOptions, error) {
	var o api.BuildOptions
	props, lists := fn.Build.Properties, fn.Build.Lists
	sdk, err := sdkPackages()
	if err != nil {
		return o, err
	}
	o = api.BuildOptions{
		AbsWorkingDir: dir, Outdir: filepath.Join(dir, ".livegate-out"), // never written: Write is off
		Bundle: true, Metafile: true, Platform: api.PlatformNode, LogLevel: api.LogLevelSilent,
		Format: api.FormatCommonJS, Target: api.ES2020,
		External: slices.Clone(lists["External"]), MainFields: lists["MainFields"],
		MinifyWhitespace: isTrue(props["Minify"]), MinifyIdentifiers: isTrue(props["Minify"]), MinifySyntax: isTrue(props["Minify"]),
		KeepNames: isTrue(props["KeepNames"]), TreeShaking: api.TreeShakingDefault,
	}
	for name := range sdk {
		if name == "aws-sdk" || strings.HasPrefix(name, "@aws-sdk/") {
			o.External = append(o.External, name, name+"/*")
		}
	}
	slices.Sort(o.External)
	if err := entryPoints(&o, fn, dir); err != nil {
		return o, err
	}
	if err := outputForm(&o, props, lists); err != nil {
		return o, err
	}
	if !isDir(filepath.Join(dir, nameModules)) {
		modules, err := b.installed(ctx, fn.Name, dir, nil, out)
		if err != nil {
			return o, err
		}
		if modules != "" {
			o.NodePaths = []string{modules}
		}
	}
	return o, nil
}

// entryPoints are those of the metadata, else the handler's file.
func entryPoints(o *api.BuildOptions, fn *model.Function, dir string) error {
	entries := fn.Build.Lists["EntryPoints"]
	if len(entries) > 0 {
		for _, e := range entries {
			if !filepath.IsLocal(e) {
				return fmt.Errorf("entry point %q lies outside of %s", e, dir)
			}
			o.EntryPoints = append(o.EntryPoints, "./"+filepath.ToSlash(filepath.Clean(e)))
		}
		return nil
	}
	file := typeScript(fn.Handler, dir)
	if file == "" {
		i := strings.LastIndexByte(fn.Handler, '/') + 1
		name, _, _ := strings.Cut(fn.Handler[i:], ".")
		for _, ext := range []string{".js", ".mjs", ".cjs"} {
			if f := filepath.Join(dir, filepath.FromSlash(fn.Handler[:i]+name+ext)); isFile(f) {
				file = f
			}
		}
	}
	if file == "" {
		return &missingHandler{fmt.Sprintf("handler %q: there is no source file for it in %s", fn.Handler, dir)}
	}
	rel, err := filepath.Rel(dir, file)
	if err != nil {
		return err
	}
	rel = filepath.ToSlash(rel)
	// The output keeps the handler's path.
	o.EntryPointsAdvanced = []api.EntryPoint{{InputPath: "./" + rel, OutputPath: strings.TrimSuffix(rel, path.Ext(rel))}}
	return nil
}

// loaderOf maps esbuild's loader names.
func loaderOf(name string) (api.Loader, bool) {
	loader, ok := map[string]api.Loader{
		"base64": api.LoaderBase64, "binary": api.LoaderBinary, "copy": api.LoaderCopy, "css": api.LoaderCSS,
		"dataurl": api.LoaderDataURL, "empty": api.LoaderEmpty, "file": api.LoaderFile, "js": api.LoaderJS,
		"json": api.LoaderJSON, "jsx": api.LoaderJSX, "text": api.LoaderText, "ts": api.LoaderTS, "tsx": api.LoaderTSX,
	}[name]
	return loader, ok
}

// outputForm reads the properties about what comes out.
func outputForm(o *api.BuildOptions, props map[string]string, lists map[string][]string) error {
	switch strings.ToLower(props["Format"]) {
	case "", "cjs":
	case "esm":
		o.Format = api.FormatESModule
		// CommonJS packages inside an ES module still call require.
		o.Banner = map[string]string{"js": "import { createRequire as livegateCreateRequire } from 'node:module'; const require = livegateCreateRequire(import.meta.url);"}
		o.OutExtension = map[string]string{".js": ".mjs"}
	default:
		return fmt.Errorf("BuildProperties: Format %q is neither cjs nor esm", props["Format"])
	}
	for _, e := range lists["OutExtension"] {
		from, to, ok := strings.Cut(e, "=")
		if !ok {
			return fmt.Errorf("BuildProperties: OutExtension %q is not of the form .js=.mjs", e)
		}
		if o.OutExtension == nil {
			o.OutExtension = map[string]string{}
		}
		o.OutExtension[from] = to
	}
	if target := props["Target"]; target != "" {
		if err := setTarget(o, target); err != nil {
			return err
		}
	}
	if isTrue(props["Sourcemap"]) {
		o.Sourcemap = api.SourceMapLinked
	}
	if v := props["SourcesContent"]; v != "" && !isTrue(v) {
		o.SourcesContent = api.SourcesContentExclude
	}
	for _, l := range lists["Loader"] {
		ext, name, _ := strings.Cut(l, "=")
		loader, ok := loaderOf(name)
		if !ok {
			return fmt.Errorf("BuildProperties: Loader %q: esbuild has no loader %q", l, name)
		}
		if o.Loader == nil {
			o.Loader = map[string]api.Loader{}
		}
		o.Loader[ext] = loader
	}
	return nil
}

// setTarget reads "es2020" or "node20" or a comma-separated list of those.
func setTarget(o *api.BuildOptions, target string) error {
	versions := map[string]api.Target{
		"es5": api.ES5, "es6": api.ES2015, "es2015": api.ES2015, "es2016": api.ES2016, "es2017": api.ES2017,
		"es2018": api.ES2018, "es2019": api.ES2019, "es2020": api.ES2020, "es2021": api.ES2021,
		"es2022": api.ES2022, "es2023": api.ES2023, "es2024": api.ES2024, "esnext": api.ESNext,
	}
	for part := range strings.SplitSeq(strings.ToLower(target), ",") {
		part = strings.TrimSpace(part)
		if v, ok := versions[part]; ok {
			o.Target = v
		} else if v, ok := strings.CutPrefix(part, "node"); ok {
			o.Target = api.DefaultTarget
			o.Engines = append(o.Engines, api.Engine{Name: api.EngineNode, Version: v})
		} else {
			return fmt.Errorf("BuildProperties: Target %q is neither an ECMAScript version nor node and a number", part)
		}
	}
	return nil
}

// remember keeps which files outside CodeDir went into a bundle, for Affected.
func (b *Builder) remember(fn *model.Function, dir, metafile string) error {
	var meta struct {
		Inputs map[string]json.RawMessage `json:"inputs"`
	}
	if err := json.Unmarshal([]byte(metafile), &meta); err != nil {
		return errors.Join(errors.New("esbuild's metafile"), err)
	}
	var outside []string
	for in := range meta.Inputs {
		file := filepath.Join(dir, filepath.FromSlash(in))
		if _, err := os.Stat(file); err == nil && !within(dir, file) && !strings.Contains(in, nameModules) {
			outside = append(outside, file)
		}
	}
	b.mu.Lock()
	b.inputs[fn.Name] = outside
	b.mu.Unlock()
	return nil
}

func isTrue(v string) bool { return strings.EqualFold(v, "true") }
