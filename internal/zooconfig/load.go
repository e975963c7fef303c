package zooconfig

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// OSEnv is the environment and the files of this process.
func OSEnv() Env { return Env{Getenv: os.Getenv, ReadFile: os.ReadFile} }

// Load reads the configuration file at path and everything it refers to, see
// Parse. In addition it holds to datadir.autocreate=false: a data directory
// that is missing then is an error, because a mistyped dataDir would start an
// empty server.
func Load(path string, env Env) (*Config, []string, error) {
	text, err := env.read(path)
	if err != nil {
		return nil, nil, fmt.Errorf("configuration file: %w", err)
	}
	c, warnings, err := Parse(path, text, env)
	if err != nil || c.DataDirAutocreate {
		return c, warnings, err
	}
	for _, dir := range []string{c.DataDir, c.DataLogDir} {
		if info, err := os.Stat(dir); err != nil {
			return nil, warnings, fmt.Errorf("%s: datadir.autocreate is false and the data directory cannot be used: %w; correct the path, or make the directory", path, err)
		} else if !info.IsDir() {
			return nil, warnings, fmt.Errorf("%s: the data directory %s is not a directory", path, dir)
		}
	}
	return c, warnings, nil
}

// CheckNoZooKeeperData returns an error if dir, a dataDir or dataLogDir, holds
// snapshots or logs of ZooKeeper's. Conclave cannot read them, and to start
// empty beside them would look to clients like the loss of everything. A
// missing directory is fine.
func CheckNoZooKeeperData(dir string) error {
	data := filepath.Join(dir, "version-2")
	files, err := os.ReadDir(data)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking for data of ZooKeeper's: %w", err)
	}
	var found []string
	for _, f := range files {
		if isZooKeeperData(f.Name()) {
			found = append(found, f.Name())
		}
	}
	if found == nil {
		return nil
	}
	more := ""
	if len(found) > 1 {
		more = fmt.Sprintf(" and %d more", len(found)-1)
	}
	return fmt.Errorf("%s holds data of ZooKeeper's (%s%s), which Conclave cannot read, and it will not start empty beside it: "+
		"set dataDir to an empty directory, or move %s away if its data is no longer wanted", data, found[0], more, data)
}

// isZooKeeperData is true for log.ZXID and snapshot.ZXID, the zxid in
// hexadecimal; a compressed snapshot has a further suffix.
func isZooKeeperData(name string) bool {
	kind, zxid, _ := strings.Cut(name, ".")
	if kind == "snapshot" {
		zxid, _, _ = strings.Cut(zxid, ".")
	}
	_, err := strconv.ParseUint(zxid, 16, 64)
	return err == nil && (kind == "log" || kind == "snapshot")
}
