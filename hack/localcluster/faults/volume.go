package faults

import (
	"context"
	"fmt"
	"strings"

	"github.com/conclave-dev/conclave/hack/localcluster/internal/host"
)

// filler is the file that makes a volume full. Its name begins with a dot, so
// that programs that list their folder are not confused by it.
const filler = ".filled-by-a-test"

// fillScript takes what the file system in $1 has left: nearly all at once, and
// the rest in small writes until it says no.
const fillScript = `cd "$1" || exit 1
free=$(df --output=avail -B1 . | tail -n 1)
if [ "$free" -gt 16777216 ]; then fallocate -l $((free - 8388608)) ` + filler + ` || exit 1; fi
for bs in 1M 4k 512; do
  dd if=/dev/zero bs=$bs of=` + filler + ` oflag=append conv=notrunc 2>/dev/null
done
sync -f .
`

// FillVolume leaves no room in a claim's volume, until FreeVolume.
func (c *Cluster) FillVolume(ctx context.Context, namespace, claim string) error {
	dir, err := c.volume(ctx, namespace, claim)
	if err != nil {
		return err
	}
	_, err = c.Exec(ctx, "control", "sh", "-c", fillScript, "fill", dir)
	return err
}

// FreeVolume takes back what FillVolume did.
func (c *Cluster) FreeVolume(ctx context.Context, namespace, claim string) error {
	dir, err := c.volume(ctx, namespace, claim)
	if err != nil {
		return err
	}
	_, err = c.Exec(ctx, "control", "rm", "-f", dir+"/"+filler)
	return err
}

// volume returns the folder on which a claim's volume is mounted.
func (c *Cluster) volume(ctx context.Context, namespace, claim string) (string, error) {
	name, err := host.Kubectl(ctx, c.c, "--namespace="+namespace, "get", "pvc", claim, "--output=jsonpath={.spec.volumeName}")
	if err != nil {
		return "", err
	}
	if name == "" {
		return "", fmt.Errorf("claim %s/%s has no volume", namespace, claim)
	}
	dir, err := host.Kubectl(ctx, c.c, "get", "pv", name, "--output=jsonpath={.spec.local.path}")
	if err == nil && !strings.HasPrefix(dir, c.c.Volumes()+"/") {
		err = fmt.Errorf("volume %s is not one of the local cluster's provisioner", name)
	}
	return dir, err
}
