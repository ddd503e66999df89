package terraform

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/livegate/livegate/internal/cfn"
)

// resourceNode is a resource as a template has it; nil for one that is none there.
func (i *instance) resourceNode() *cfn.Node {
	at := i.mod.pos(i.block.DefRange())
	k, known := kinds()[i.typ]
	for _, b := range i.block.Body.Blocks {
		if b.Type == "provisioner" {
			i.mod.problem(cfn.Warning, "provisioner-not-run", i.mod.pos(b.DefRange()), "What it does at apply is not done here.", "Provisioners are not run: "+i.address()+".")
		}
	}
	if !known {
		i.unknown(at)
		return nil
	}
	props := cfn.MapOf(at)
	for _, pair := range k.pairs() {
		if n := i.get(pair[0]); n != nil {
			i.set(props, pair[1], n)
		}
	}
	if k.more != nil {
		k.more(i, props)
	}
	i.unread(k)
	return cfn.MapOf(at, cfn.Entry{Key: "Type", Pos: at, Value: cfn.Text(k.typ, at)}, cfn.Entry{Key: "Properties", Pos: at, Value: props})
}

// unknown names a type that is not understood, once.
func (i *instance) unknown(at cfn.Pos) {
	if isQuiet(i.typ) || i.typ == "null_resource" || i.typ == "terraform_data" || i.typ == "local_file" || i.mod.warned[i.typ] {
		return
	}
	i.mod.warned[i.typ] = true
	i.mod.problem(cfn.Warning, "unsupported-resource", at, "References to it yield made-up values, and nothing answers there.", i.typ+" is not understood: "+i.address()+".")
}

// elsewhere are arguments that are read by name, not by a kind's list, or that
// change nothing here.
var elsewhere = strings.Fields(`filename s3_bucket s3_key s3_object_version image_uri source_code_hash publish environment ephemeral_storage dead_letter_config
	hash_key range_key read_capacity write_capacity stream_enabled stream_view_type attribute global_secondary_index local_secondary_index ttl
	access_log_settings default_route_settings route_settings request_parameter domain_name_configuration mutual_tls_authentication
	tags tags_all timeouts assume_role_policy policy statement_id force_destroy force_detach_policies tracing_config logging_config vpc_config
	point_in_time_recovery server_side_encryption deletion_protection_enabled skip_destroy kms_master_key_id sqs_managed_sse_enabled triggers
	inline_policy managed_policy_arns max_session_duration recovery_window_in_days bucket_prefix name_prefix dynamic lifecycle`)

// unread names the arguments that nothing here looks at.
func (i *instance) unread(k kind) {
	known := slices.Concat(elsewhere, meta)
	for _, pair := range k.pairs() {
		known = append(known, pair[0])
	}
	say := func(name string, at cfn.Pos) {
		if slices.Contains(known, name) || i.mod.warned[i.typ+"."+name] {
			return
		}
		i.mod.warned[i.typ+"."+name] = true
		if near := cfn.Closest(name, known); near != "" {
			i.mod.problem(cfn.Warning, "unknown-property", at, cfn.DidYouMean(name, known), i.typ+" has no argument "+quote(name)+" that is understood.")
			return
		}
		i.mod.problem(cfn.Note, "unread-argument", at, "", "The argument "+name+" of "+i.typ+" has no effect here.")
	}
	for _, a := range ordered(i.block.Body.Attributes) {
		say(a.Name, i.mod.pos(a.SrcRange))
	}
	for _, b := range i.block.Body.Blocks {
		say(b.Type, i.mod.pos(b.DefRange()))
	}
}

func (i *instance) set(props *cfn.Node, key string, v *cfn.Node) {
	if v != nil {
		props.Map = append(props.Map, cfn.Entry{Key: key, Pos: v.Pos, Value: v})
	}
}

// single sets a property to the one block of a type.
func (i *instance) single(props *cfn.Node, block, key string) {
	if all := i.nested(i.block.Body, block, i.scope); len(all) > 0 {
		i.set(props, key, i.object(all[0]))
	}
}

// list sets a property to all blocks of a type.
func (i *instance) list(props *cfn.Node, block, key string) {
	var out []*cfn.Node
	for _, b := range i.nested(i.block.Body, block, i.scope) {
		out = append(out, i.object(b))
	}
	if len(out) > 0 {
		i.set(props, key, cfn.ListOf(out[0].Pos, out...))
	}
}

func requestParameters(i *instance, props *cfn.Node) {
	var out *cfn.Node
	for _, b := range i.nested(i.block.Body, "request_parameter", i.scope) {
		o := i.object(b)
		key := o.Get("RequestParameterKey")
		if key == nil {
			continue
		}
		if out == nil {
			out = cfn.MapOf(o.Pos)
		}
		i.set(out, key.Text, cfn.MapOf(o.Pos, cfn.Entry{Key: "Required", Value: o.Get("Required")}))
	}
	i.set(props, "RequestParameters", out)
}

func stageSettings(i *instance, props *cfn.Node) {
	i.single(props, "access_log_settings", "AccessLogSettings")
	i.single(props, "default_route_settings", "DefaultRouteSettings")
	var out *cfn.Node
	for _, b := range i.nested(i.block.Body, "route_settings", i.scope) {
		o := i.object(b)
		key := o.Get("RouteKey")
		if key == nil {
			continue
		}
		if out == nil {
			out = cfn.MapOf(o.Pos)
		}
		o.Map = slices.DeleteFunc(o.Map, func(e cfn.Entry) bool { return e.Key == "RouteKey" })
		i.set(out, key.Text, o)
	}
	i.set(props, "RouteSettings", out)
}

func functionCode(i *instance, props *cfn.Node) {
	if all := i.nested(i.block.Body, "environment", i.scope); len(all) > 0 {
		i.set(props, "Environment", i.object(all[0]))
	}
	i.single(props, "ephemeral_storage", "EphemeralStorage")
	i.single(props, "dead_letter_config", "DeadLetterConfig")
	if image := i.get("image_uri"); image != nil {
		i.set(props, "Code", cfn.MapOf(image.Pos, cfn.Entry{Key: "ImageUri", Value: image}))
		return
	}
	i.set(props, "Code", i.code())
}

func layerContent(i *instance, props *cfn.Node) {
	if props.Get("LayerName") == nil {
		i.set(props, "LayerName", cfn.Text(i.name, props.Pos))
	}
	i.set(props, "Content", i.code())
}

// code is where a function's or layer's code is: the directory that an archive is
// made of, the archive, or an object in S3 that the configuration uploads.
func (i *instance) code() *cfn.Node {
	file := i.get("filename")
	if file == nil {
		key := i.get("s3_key")
		if key == nil {
			return nil
		}
		for _, typ := range []string{"aws_s3_object", "aws_s3_bucket_object"} {
			for _, r := range i.mod.order {
				if r.typ != typ || r.data || !r.expand() {
					continue
				}
				for _, o := range r.instances {
					if k := o.get("key"); k != nil && k.JSON() == key.JSON() {
						file = o.get("source")
					}
				}
			}
		}
		if file == nil {
			return cfn.MapOf(key.Pos, cfn.Entry{Key: "S3Bucket", Value: i.get("s3_bucket")}, cfn.Entry{Key: "S3Key", Value: key})
		}
	}
	if file.Kind != cfn.String {
		i.mod.problem(cfn.Error, "terraform", file.Pos, "Write the path literally, or take it from archive_file.", "The code of "+i.address()+" is known only after apply.")
		return nil
	}
	path := file.Text
	if !filepath.IsAbs(path) {
		path = filepath.Join(i.mod.Dir, filepath.FromSlash(path)) // Terraform runs in the root module
	}
	if from, ok := i.mod.archived(path); ok {
		path = from
	}
	return cfn.Text(path, file.Pos)
}

// archived is the source of the archive_file that writes a path.
func (m *module) archived(path string) (string, bool) {
	if !m.tried {
		m.loader.tried = true
		m.findArchives(m.top())
	}
	from, ok := m.zips[path]
	return from, ok
}

func (m *module) top() *module {
	for m.parent != nil {
		m = m.parent
	}
	return m
}

func (l *loader) findArchives(m *module) {
	for _, r := range m.order {
		if r.typ != "archive_file" || !r.expand() {
			continue
		}
		for _, i := range r.instances {
			out := i.path("output_path")
			dir, file := i.path("source_dir"), i.path("source_file")
			switch {
			case out == "":
			case dir != "":
				l.zips[out] = dir
			case file != "":
				l.zips[out] = filepath.Dir(file)
			default:
				l.problem(cfn.Warning, "terraform", l.pos(r.block.DefRange()), "Use source_dir or source_file.", "What "+i.address()+" packs from literal text is not read.")
			}
		}
	}
	for _, c := range m.children {
		l.findArchives(c)
	}
}

// path is a configured path, absolute; "" without.
func (i *instance) path(name string) string {
	p := i.plain(name)
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(i.mod.Dir, filepath.FromSlash(p))
}

func table(i *instance, props *cfn.Node) {
	at := props.Pos
	keys := func(hash, rng *cfn.Node) *cfn.Node {
		out := cfn.ListOf(at)
		for n, key := range []*cfn.Node{hash, rng} {
			if key != nil {
				out.List = append(out.List, cfn.MapOf(key.Pos, cfn.Entry{Key: "AttributeName", Value: key}, cfn.Entry{Key: "KeyType", Value: cfn.Text([]string{"HASH", "RANGE"}[n], key.Pos)}))
			}
		}
		return out
	}
	capacity := func(read, write *cfn.Node) *cfn.Node {
		if read == nil || write == nil {
			return nil
		}
		return cfn.MapOf(read.Pos, cfn.Entry{Key: "ReadCapacityUnits", Value: read}, cfn.Entry{Key: "WriteCapacityUnits", Value: write})
	}
	hash := i.get("hash_key")
	i.set(props, "KeySchema", keys(hash, i.get("range_key")))
	i.set(props, "ProvisionedThroughput", capacity(i.get("read_capacity"), i.get("write_capacity")))
	attributes := cfn.ListOf(at)
	for _, b := range i.nested(i.block.Body, "attribute", i.scope) {
		o := i.object(b)
		attributes.List = append(attributes.List, cfn.MapOf(o.Pos, cfn.Entry{Key: "AttributeName", Value: o.Get("Name")}, cfn.Entry{Key: "AttributeType", Value: o.Get("Type")}))
	}
	i.set(props, "AttributeDefinitions", attributes)
	for block, key := range map[string]string{"global_secondary_index": "GlobalSecondaryIndexes", "local_secondary_index": "LocalSecondaryIndexes"} {
		var list []*cfn.Node
		for _, b := range i.nested(i.block.Body, block, i.scope) {
			o := i.object(b)
			own := o.Get("HashKey")
			if block == "local_secondary_index" {
				own = hash
			}
			list = append(list, cfn.MapOf(o.Pos, cfn.Entry{Key: "IndexName", Value: o.Get("Name")}, cfn.Entry{Key: "KeySchema", Value: keys(own, o.Get("RangeKey"))},
				cfn.Entry{Key: "Projection", Value: cfn.MapOf(o.Pos, cfn.Entry{Key: "ProjectionType", Value: o.Get("ProjectionType")}, cfn.Entry{Key: "NonKeyAttributes", Value: o.Get("NonKeyAttributes")})},
				cfn.Entry{Key: "ProvisionedThroughput", Value: capacity(o.Get("ReadCapacity"), o.Get("WriteCapacity"))}))
		}
		if len(list) > 0 {
			i.set(props, key, cfn.ListOf(list[0].Pos, list...))
		}
	}
	if on := i.get("stream_enabled"); on != nil && on.Text == "true" {
		i.set(props, "StreamSpecification", cfn.MapOf(on.Pos, cfn.Entry{Key: "StreamViewType", Value: i.get("stream_view_type")}))
	}
	i.single(props, "ttl", "TimeToLiveSpecification")
}

// reference is an attribute that exists only once the resource does.
func (i *instance) reference(attr string, at cfn.Pos) *cfn.Node {
	k, known := kinds()[i.typ]
	pattern, ok := k.refs[attr]
	if !known || !ok {
		return cfn.Text(i.madeUp(attr), at)
	}
	if strings.Contains(pattern, "{") {
		return i.fill(pattern, at)
	}
	switch {
	case pattern == "Ref":
		return call("Ref", cfn.Text(i.id, at))
	case strings.HasPrefix(pattern, "Att:"):
		return call("Fn::GetAtt", cfn.ListOf(at, cfn.Text(i.id, at), cfn.Text(pattern[4:], at)))
	}
	return cfn.Text(pattern, at)
}

// fill replaces the variables of a pattern.
func (i *instance) fill(pattern string, at cfn.Pos) *cfn.Node {
	out := cfn.ListOf(at)
	for pattern != "" {
		before, rest, found := strings.Cut(pattern, "{")
		if before != "" {
			out.List = append(out.List, cfn.Text(before, at))
		}
		if !found {
			break
		}
		name, after, _ := strings.Cut(rest, "}")
		pattern = after
		switch {
		case name == "Ref":
			out.List = append(out.List, call("Ref", cfn.Text(i.id, at)))
		case strings.HasPrefix(name, "AWS::"):
			out.List = append(out.List, call("Ref", cfn.Text(name, at)))
		case strings.HasPrefix(name, "Att:"):
			out.List = append(out.List, call("Fn::GetAtt", cfn.ListOf(at, cfn.Text(i.id, at), cfn.Text(name[4:], at))))
		default:
			for _, pair := range kinds()[i.typ].pairs() {
				if pair[1] != name {
					continue
				}
				if n := i.get(pair[0]); n != nil {
					out.List = append(out.List, n)
				} else {
					out.List = append(out.List, cfn.Text(i.madeUp(pair[0]), at))
				}
			}
		}
	}
	return call("Fn::Join", cfn.ListOf(at, cfn.Text("", at), out))
}

// madeUp is a value in the provider's shape for what is not understood.
func (i *instance) madeUp(attr string) string {
	name := strings.Trim(i.typ+"-"+i.name+"-"+i.key, "-")
	if attr == "arn" || strings.HasSuffix(attr, "_arn") {
		service := strings.TrimPrefix(i.typ, "aws_")
		service, _, _ = strings.Cut(service, "_")
		return "arn:aws:" + service + ":" + i.mod.res.Region + ":" + i.mod.AccountID + ":" + name
	}
	if attr == "id" || attr == "name" {
		return name
	}
	return name + "-" + attr
}
