package stack

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/livegate/livegate/internal/cfn"
	"github.com/livegate/livegate/internal/model"
)

// builtFunction is a declared function: one that can run, or the reason why it
// cannot.
type builtFunction struct {
	fn     *model.Function // nil when it cannot run here
	reason string
	r      *cfn.Resource
}

var functionProperties = []string{"FunctionName", "Description", "Handler", "Runtime", "MemorySize", "Timeout", "Environment", "Layers",
	"VpcConfig", "KmsKeyArn", "ReservedConcurrentExecutions", "Architectures", "EphemeralStorage", "PackageType", "ImageConfig",
	"FileSystemConfigs", "SnapStart", "LoggingConfig", "RuntimeManagementConfig", "RecursiveLoop", "Role", "Code", "DeadLetterConfig",
	"TracingConfig", "Tags", "CodeSigningConfigArn", "TenancyConfig", "CapacityProviderConfig", "DurableConfig", "PublishToLatestPublished",
	"FunctionScalingConfig"}

func (b *builder) function(in *instance, r *cfn.Resource) {
	p := in.props(r)
	p.known(functionProperties...)
	f := &model.Function{
		LogicalID: r.ID, Name: in.physicalName(r), Runtime: p.str("Runtime"), Handler: p.str("Handler"),
		Env:         p.sub("Environment").texts("Variables"),
		Timeout:     time.Duration(p.integer("Timeout", 3, 1, 900)) * time.Second,
		MemoryMB:    p.integer("MemorySize", 128, 128, 10240),
		EphemeralMB: p.sub("EphemeralStorage").integer("Size", 512, 512, 10240),
		Layers:      p.strings("Layers"),
		Reserved:    p.integer("ReservedConcurrentExecutions", -1, 0, 1<<20),
		Arch:        "x86_64", AsyncRetries: -1, Aliases: map[string]string{},
		Build: in.buildSettings(r), Pos: position(r.Pos), HandlerPos: position(p.pos("Handler")),
	}
	f.ARN = in.functionARN(f.Name)
	if archs := p.strings("Architectures"); len(archs) > 0 {
		f.Arch = archs[0]
	}
	if len(f.Name) > 64 || strings.ContainsAny(f.Name, " :/.") {
		in.report(Error, "bad-property", r, p.pos("FunctionName"), "", "The function name %s must have at most 64 letters, digits, - and _.", quote(f.Name))
	}
	if other := b.functions[f.Name]; other != nil {
		in.report(Error, "duplicate-name", r, p.pos("FunctionName"), "Give one of them another FunctionName.", "The function name %s is already used by %s (line %d).", quote(f.Name), other.r.ID, other.r.Pos.Line)
		return
	}
	built := &builtFunction{r: r}
	b.functions[f.Name] = built
	if built.reason = b.code(in, p, f); built.reason != "" {
		in.report(Warning, "function-not-supported", r, r.Pos, "Everything else runs; a route to this function would be an error.", "The function %s cannot run here: %s.", r.ID, built.reason)
		return
	}
	built.fn = f
	b.app.Functions = append(b.app.Functions, f)
	b.checkLayers(in, p, f)
	if p.wrote("DeadLetterConfig") {
		in.report(Warning, "dead-letter-not-supported", r, p.pos("DeadLetterConfig"), "A failed asynchronous call is logged.", "The dead-letter queue of %s is not supported yet.", r.ID)
	}
	if p.wrote("Runtime") || f.Runtime != "" {
		in.checkHandler(p, f)
	}
}

// code finds where a function's code is and returns why it cannot run, if so.
func (b *builder) code(in *instance, p props, f *model.Function) (reason string) {
	if p.oneOf("PackageType", "Zip", "Image") == "Image" || p.n.Get("Code").Get("ImageUri") != nil {
		return "container images (PackageType Image) are not supported"
	}
	if p.missing("Runtime", "Add `Runtime: nodejs22.x`, or another.") {
		return ""
	}
	if f.Runtime != "" && !runnable(f.Runtime) {
		return "the runtime " + f.Runtime + " is not supported; nodejs, python, go1.x and provided are"
	}
	if !strings.HasPrefix(f.Runtime, "provided") {
		p.missing("Handler", "Add `Handler: index.handler`.")
	}
	code := p.get("Code")
	switch {
	case code == nil && p.wrote("Code"):
		return "" // broken, and reported
	case code == nil:
		f.CodeDir = in.dir
		return ""
	case code.Scalar():
		return in.codePath(p, f, code)
	case code.Kind == cfn.Map:
		c := p.sub("Code")
		if inline := c.get("ZipFile"); inline != nil {
			f.Inline = inline.Text
			return ""
		}
		if path, ok := in.artifact(c.str("S3Key")); ok {
			return in.codeAt(p, f, path, code.Pos)
		}
		return "its code is in S3; name a local directory in CodeUri"
	}
	p.wrong("Code", code, "a path or a map")
	return ""
}

// codePath resolves a local CodeUri.
func (in *instance) codePath(p props, f *model.Function, code *cfn.Node) (reason string) {
	if strings.Contains(code.Text, "://") {
		return "its code is in S3; name a local directory in CodeUri"
	}
	return in.codeAt(p, f, in.abs(code.Text), code.Pos)
}

// codeAt takes a directory or an archive as a function's code.
func (in *instance) codeAt(p props, f *model.Function, path string, at cfn.Pos) (reason string) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		hint := "Paths are relative to the template."
		if in.artifacts != nil {
			hint = "Package the project again."
		} else if dir := filepath.Base(path); dir == "dist" || dir == "build" || strings.Contains(path, "/dist/") || strings.Contains(path, "/build/") {
			hint = "Run the project's build first. " + hint
		}
		in.report(Error, "missing-code", p.r, at, hint, "The code directory %s of %s does not exist.", quote(in.b.shown(path)), p.r.ID)
	case info.IsDir():
		f.CodeDir = path
	case strings.HasSuffix(path, ".zip"), strings.HasSuffix(path, ".jar"):
		f.CodeFile = path
	default:
		f.CodeDir = path[:strings.LastIndexByte(path, os.PathSeparator)]
	}
	return ""
}

func runnable(runtime string) bool {
	return strings.HasPrefix(runtime, "nodejs") || strings.HasPrefix(runtime, "python") || strings.HasPrefix(runtime, "provided") || runtime == "go1.x"
}

// buildSettings reads Metadata.BuildMethod and BuildProperties.
func (in *instance) buildSettings(r *cfn.Resource) model.Build {
	out := model.Build{Properties: map[string]string{}, Lists: map[string][]string{}}
	if r.Metadata == nil || r.Metadata.Kind != cfn.Map {
		return out
	}
	if m := r.Metadata.Get("BuildMethod"); m != nil {
		out.Method = in.Eval(m).Text
	}
	collect := func(n *cfn.Node) {
		for _, e := range n.Map {
			v := in.Eval(e.Value)
			switch {
			case v.Scalar():
				out.Properties[e.Key] = v.Text
			case v.Kind == cfn.List:
				for _, item := range v.List {
					out.Lists[e.Key] = append(out.Lists[e.Key], item.Text)
				}
			case v.Kind == cfn.Map: // e.g. Loader: {.html: text}
				for _, item := range v.Map {
					out.Lists[e.Key] = append(out.Lists[e.Key], item.Key+"="+item.Value.Text)
				}
			}
		}
	}
	if props := r.Metadata.Get("BuildProperties"); props != nil && props.Kind == cfn.Map {
		collect(props)
	}
	for _, key := range []string{"SkipBuild", "BuildArchitecture"} {
		if v := r.Metadata.Get(key); v.Scalar() {
			out.Properties[key] = v.Text
		}
	}
	return out
}

func (b *builder) layer(in *instance, r *cfn.Resource) {
	p := in.props(r)
	p.known("LayerName", "Description", "Content", "CompatibleArchitectures", "CompatibleRuntimes", "LicenseInfo")
	arn := in.expand(shapes()[r.Type].ref, r)
	l := &model.Layer{LogicalID: r.ID, Name: in.physicalName(r), ARN: arn, Build: in.buildSettings(r), Pos: position(r.Pos)}
	if p.missing("Content", "Add `ContentUri: path/`.") {
		return
	}
	content := p.get("Content")
	path, packaged := "", false
	if content != nil && content.Kind == cfn.Map {
		path, packaged = in.artifact(p.sub("Content").str("S3Key"))
	}
	switch {
	case content == nil:
		return
	case packaged:
	case !content.Scalar() || strings.Contains(content.Text, "://"):
		in.report(Warning, "layer-not-local", r, content.Pos, "Name a local directory in ContentUri.", "The content of the layer %s is in S3 and is not there at run time.", r.ID)
		return
	}
	if !packaged {
		path = in.abs(content.Text)
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		in.report(Error, "missing-code", r, content.Pos, "Paths are relative to the template.", "The directory %s of the layer %s does not exist.", quote(in.b.shown(path)), r.ID)
		return
	case info.IsDir():
		l.Dir = path
	default:
		l.File = path
	}
	b.layers[arn] = l
	b.app.Layers = append(b.app.Layers, l)
}

// checkLayers reports layers that are not in the application: AWS's own and
// other people's, which functions may or may not need.
func (b *builder) checkLayers(in *instance, p props, f *model.Function) {
	declared := func(arn string) bool {
		for _, i := range b.instances {
			for _, r := range i.Resources {
				if r.Type == "AWS::Lambda::LayerVersion" && i.expand(shapes()[r.Type].ref, r) == arn {
					return true
				}
			}
		}
		return false
	}
	for _, arn := range f.Layers {
		if b.layers[arn] != nil || declared(arn) {
			continue // a declared layer without content was reported there
		}
		at := p.pos("Layers")
		if !strings.HasPrefix(arn, "arn:") {
			in.report(Error, "bad-layer", p.r, at, "Refer to a layer of this template, or write a layer version ARN.", "%s needs the layer %s, which is not one.", p.r.ID, quote(arn))
			continue
		}
		in.report(Warning, "layer-not-local", p.r, at, "Calls into it will fail; add its content to the function's own code or to a local layer.", "The layer %s of %s is not part of this template and is not there at run time.", quote(arn), p.r.ID)
	}
}

func (b *builder) alias(in *instance, r *cfn.Resource) {
	p := in.props(r)
	p.known("Description", "FunctionName", "FunctionVersion", "Name", "ProvisionedConcurrencyConfig", "RoutingConfig")
	name := p.str("Name")
	p.missing("Name", "")
	p.missing("FunctionName", "")
	version := p.str("FunctionVersion")
	if f := b.declared(in, p, "FunctionName"); f != nil && f.fn != nil && name != "" {
		f.fn.Aliases[name] = version
	}
	if w := p.sub("RoutingConfig"); w.n != nil {
		in.report(Warning, "alias-weights-not-supported", r, p.pos("RoutingConfig"), "", "Weighted aliases are not supported: %s always runs the current code.", r.ID)
	}
}

// declared finds the function that a property names; a name that is not in the
// application is reported.
func (b *builder) declared(in *instance, p props, key string) *builtFunction {
	s := p.str(key)
	if s == "" {
		return nil
	}
	name := functionName(s)
	if f := b.functions[name]; f != nil {
		return f
	}
	in.report(Warning, "unknown-function", p.r, p.pos(key), cfn.DidYouMean(name, b.functionNames()), "%s is for the function %s, which is not in this template.", p.r.ID, quote(name))
	return nil
}

func (b *builder) functionNames() []string {
	var names []string
	for name := range b.functions {
		names = append(names, name)
	}
	return names
}

func (b *builder) invokeConfig(in *instance, r *cfn.Resource) {
	p := in.props(r)
	p.known("DestinationConfig", "FunctionName", "MaximumEventAgeInSeconds", "MaximumRetryAttempts", "Qualifier")
	f := b.declared(in, p, "FunctionName")
	if f == nil || f.fn == nil {
		return
	}
	f.fn.AsyncRetries = p.integer("MaximumRetryAttempts", -1, 0, 2)
	f.fn.AsyncMaxAge = time.Duration(p.integer("MaximumEventAgeInSeconds", 0, 60, 21600)) * time.Second
	dest := p.sub("DestinationConfig")
	f.fn.OnSuccess = dest.sub("OnSuccess").str("Destination")
	f.fn.OnFailure = dest.sub("OnFailure").str("Destination")
	for _, arn := range []string{f.fn.OnSuccess, f.fn.OnFailure} {
		if arn != "" && !strings.Contains(arn, ":lambda:") {
			in.report(Warning, "destination-not-supported", r, p.pos("DestinationConfig"), "The outcome is logged.", "An asynchronous destination of %s is not supported yet: %s.", f.r.ID, arn)
		}
	}
}
