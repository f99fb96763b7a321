package identity

import (
	"encoding/binary"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/spaceport-iac/spaceport/internal/seal"
)

// Machine returns a digest that is the same on this machine after a reboot and
// another one on a copy of its disk: of the machine id, else of the cloud's or
// firmware's instance id, else of the filesystem that holds dir. It is empty
// where none of them is known. root is the host's root ("/").
func Machine(root fs.FS, dir string) string {
	for _, path := range []string{"etc/machine-id", "var/lib/dbus/machine-id", "sys/class/dmi/id/product_uuid", "sys/hypervisor/uuid"} {
		data, err := fs.ReadFile(root, path)
		id := strings.TrimSpace(string(data))
		if err == nil && id != "" && id != "uninitialized" {
			return seal.Digest([]byte("spaceport machine " + id))
		}
	}
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil || st.Fsid.Val == [2]int32{} {
		return ""
	}
	raw := binary.LittleEndian.AppendUint32(nil, uint32(st.Fsid.Val[0]))
	raw = binary.LittleEndian.AppendUint32(raw, uint32(st.Fsid.Val[1]))
	return seal.Digest(append([]byte("spaceport filesystem "), raw...))
}
