package stack

import (
	"regexp"

	"github.com/livegate/livegate/internal/cfn"
	"github.com/livegate/livegate/internal/model"
)

var tableName = regexp.MustCompile(`^[A-Za-z0-9_.-]{3,255}$`)

func (b *builder) table(in *instance, r *cfn.Resource) {
	p := in.props(r)
	p.known("TableName", "AttributeDefinitions", "KeySchema", "BillingMode", "ProvisionedThroughput", "GlobalSecondaryIndexes",
		"LocalSecondaryIndexes", "StreamSpecification", "TimeToLiveSpecification", "SSESpecification", "PointInTimeRecoverySpecification",
		"DeletionProtectionEnabled", "Tags", "TableClass", "ContributorInsightsSpecification", "KinesisStreamSpecification", "OnDemandThroughput",
		"WarmThroughput", "ResourcePolicy", "ImportSourceSpecification", "Replicas", "WriteProvisionedThroughputSettings",
		"WriteOnDemandThroughputSettings", "MultiRegionConsistency", "GlobalTableWitnesses", "ReadProvisionedThroughputSettings",
		"ReadOnDemandThroughputSettings", "GlobalTableSettingsReplicationMode")
	t := &model.Table{LogicalID: r.ID, Name: in.physicalName(r), Attributes: map[string]string{}, Pos: position(r.Pos)}
	t.ARN = in.expand("arn:{partition}:dynamodb:{region}:{account}:table/", r) + t.Name
	if !tableName.MatchString(t.Name) {
		in.report(Error, "bad-table", r, p.pos("TableName"), "Use 3 to 255 letters, digits, _ . and -.", "The table name %s is not valid.", quote(t.Name))
	}
	for _, other := range b.app.Tables {
		if other.Name == t.Name {
			in.report(Error, "duplicate-name", r, p.pos("TableName"), "Give one of them another TableName.", "The table name %s is already used by %s (line %d).", quote(t.Name), other.LogicalID, other.Pos.Line)
			return
		}
	}
	p.missing("AttributeDefinitions", "Define the type of every key attribute.")
	for _, d := range p.each("AttributeDefinitions") {
		if typ := d.oneOf("AttributeType", "S", "N", "B"); typ != "" {
			t.Attributes[d.str("AttributeName")] = typ
		} else {
			d.missing("AttributeType", "Add `AttributeType: S`.")
		}
	}
	used := map[string]bool{}
	p.missing("KeySchema", "Add a HASH key.")
	t.Key = in.keySchema(p, t, used)
	for _, g := range p.each("GlobalSecondaryIndexes") {
		t.GSIs = append(t.GSIs, in.index(g, t, used))
	}
	for _, l := range p.each("LocalSecondaryIndexes") {
		i := in.index(l, t, used)
		if i.Key.Hash != "" && i.Key.Hash != t.Key.Hash {
			in.report(Error, "bad-table", r, l.n.Pos, "", "The local index %s must have the table's HASH key %s.", i.Name, t.Key.Hash)
		}
		t.LSIs = append(t.LSIs, i)
	}
	for _, d := range p.each("AttributeDefinitions") {
		if name := d.str("AttributeName"); name != "" && !used[name] {
			in.report(Error, "bad-table", r, d.n.Pos, "Remove it: DynamoDB needs no definition of other attributes.", "The attribute %s is no key of %s or its indexes.", quote(name), r.ID)
		}
	}
	t.OnDemand = p.oneOf("BillingMode", "PAY_PER_REQUEST", "PROVISIONED") == "PAY_PER_REQUEST"
	through := p.sub("ProvisionedThroughput")
	t.Read, t.Write = int64(through.integer("ReadCapacityUnits", 0, 1, 1<<40)), int64(through.integer("WriteCapacityUnits", 0, 1, 1<<40))
	ttl := p.sub("TimeToLiveSpecification")
	if ttl.n != nil && (ttl.boolean("Enabled") || !ttl.wrote("Enabled")) {
		t.TTL = ttl.str("AttributeName")
	}
	t.StreamView = p.sub("StreamSpecification").oneOf("StreamViewType", "KEYS_ONLY", "NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES")
	t.Protected = p.boolean("DeletionProtectionEnabled")
	b.app.Tables = append(b.app.Tables, t)
}

func (in *instance) keySchema(p props, t *model.Table, used map[string]bool) model.KeySchema {
	var key model.KeySchema
	list := p.each("KeySchema")
	for _, k := range list {
		name := k.str("AttributeName")
		if k.missing("AttributeName", "") || name == "" {
			continue
		}
		used[name] = true
		if t.Attributes[name] == "" {
			in.report(Error, "bad-table", p.r, k.n.Pos, "Add it to AttributeDefinitions with its type.", "The key attribute %s is not defined.", quote(name))
		}
		switch typ := k.oneOf("KeyType", "HASH", "RANGE"); {
		case typ == "HASH" && key.Hash == "":
			key.Hash = name
		case typ == "RANGE" && key.Range == "":
			key.Range = name
		case typ != "":
			in.report(Error, "bad-table", p.r, k.n.Pos, "A key is one HASH and at most one RANGE attribute.", "There is a second %s key.", typ)
		default:
			k.missing("KeyType", "Add `KeyType: HASH`.")
		}
	}
	if key.Hash == "" && len(list) > 0 {
		in.report(Error, "bad-table", p.r, p.pos("KeySchema"), "Add a HASH attribute.", "A KeySchema of %s has no HASH key.", p.r.ID)
	}
	return key
}

func (in *instance) index(p props, t *model.Table, used map[string]bool) model.Index {
	p.missing("IndexName", "")
	p.missing("KeySchema", "Add a HASH key.")
	proj := p.sub("Projection")
	i := model.Index{Name: p.str("IndexName"), Key: in.keySchema(p, t, used), Projection: proj.oneOf("ProjectionType", "ALL", "KEYS_ONLY", "INCLUDE"), NonKey: proj.strings("NonKeyAttributes")}
	if i.Projection == "" {
		p.missing("Projection", "Add `Projection: {ProjectionType: ALL}`.")
		i.Projection = "ALL"
	}
	for _, other := range append(t.GSIs, t.LSIs...) {
		if other.Name == i.Name {
			in.report(Error, "bad-table", p.r, p.pos("IndexName"), "", "The index name %s is used twice.", quote(i.Name))
		}
	}
	return i
}
