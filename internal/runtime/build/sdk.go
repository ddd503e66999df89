package build

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// The SDKs that Lambda's Node.js runtimes provide, pinned. Version 3 is of
// January 2026, the last that runs on Node 18 and 20 without announcing their
// end on every start; version 2 is its last.
var (
	//go:embed sdk/package.json
	sdkManifest []byte
	//go:embed sdk/package-lock.json
	sdkLock []byte
)

// sdkPackages are the names of all packages in the SDKs' node_modules.
func sdkPackages() (map[string]bool, error) {
	var lock struct {
		Packages map[string]json.RawMessage `json:"packages"`
	}
	if err := json.Unmarshal(sdkLock, &lock); err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for at := range lock.Packages {
		if name, ok := strings.CutPrefix(at, nameModules+"/"); ok && !strings.Contains(name, nameModules) {
			names[name] = true
		}
	}
	return names, nil
}

// sdk returns the node_modules with the SDKs; "" when they are not installed and
// install is false.
func (b *Builder) sdk(ctx context.Context, install bool) (string, error) {
	dest := filepath.Join(b.cfg.SDKDir, hashStrings(string(sdkLock)))
	modules := filepath.Join(dest, nameModules)
	if isDir(dest) {
		return modules, nil
	}
	if !install {
		return "", nil
	}
	npm := b.tools.resolve("npm")
	if err := npm.need("npm", "the AWS SDK", "install npm (it comes with Node.js)"); err != nil {
		return "", err
	}
	if err := os.MkdirAll(b.cfg.SDKDir, 0o755); err != nil {
		return "", err
	}
	unlock, err := lockFile(filepath.Join(b.cfg.SDKDir, ".lock"))
	if err != nil {
		return "", fmt.Errorf("locking %s: %w", b.cfg.SDKDir, err)
	}
	defer unlock()
	return modules, b.produce(dest, func(tmp string) error {
		return b.step("", "install the AWS SDKs (once)", func() error {
			for name, text := range map[string][]byte{"package.json": sdkManifest, "package-lock.json": sdkLock} {
				if err := os.WriteFile(filepath.Join(tmp, name), text, 0o644); err != nil {
					return err
				}
			}
			return b.npm(ctx, tmp)
		})
	})
}
