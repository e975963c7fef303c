package resources

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// unrestricted says by what a pod breaks the Pod Security standard "restricted",
// in the words of https://kubernetes.io/docs/concepts/security/pod-security-standards/.
// Kubernetes itself enforces it only in namespaces that ask for it. test/api
// compares this with the real thing.
func unrestricted(p *corev1.PodSpec) []string {
	var errs []string
	say := func(format string, args ...any) {
		errs = append(errs, fmt.Sprintf(format, args...)+": the Pod Security standard \"restricted\" does not allow it")
	}
	if p.HostNetwork || p.HostPID || p.HostIPC {
		say("spec.hostNetwork, hostPID, hostIPC")
	}
	for _, v := range p.Volumes {
		s := v.VolumeSource
		// All that may be; a kind that is added to Kubernetes is not, until it is here.
		if s.ConfigMap == nil && s.CSI == nil && s.DownwardAPI == nil && s.EmptyDir == nil && s.Ephemeral == nil &&
			s.Image == nil && s.PersistentVolumeClaim == nil && s.Projected == nil && s.Secret == nil {
			say("the kind of spec.volumes[%s]", v.Name)
		}
	}
	pod := p.SecurityContext
	if pod == nil {
		pod = &corev1.PodSecurityContext{}
	}
	if len(pod.Sysctls) > 0 {
		for _, s := range pod.Sysctls {
			if !slices.Contains(safeSysctls, s.Name) {
				say("spec.securityContext.sysctls[%s]", s.Name)
			}
		}
	}
	if isRoot(pod.RunAsUser) {
		say("spec.securityContext.runAsUser 0")
	}
	if !seccomp(pod.SeccompProfile, true) {
		say("spec.securityContext.seccompProfile other than RuntimeDefault or Localhost")
	}
	if !seLinux(pod.SELinuxOptions) || !appArmor(pod.AppArmorProfile) || windowsHost(pod.WindowsOptions) {
		say("spec.securityContext: SELinux type, user or role, an unconfined AppArmor profile, or a Windows host process")
	}
	for list, containers := range map[string][]corev1.Container{"containers": p.Containers, "initContainers": p.InitContainers} {
		for i := range containers {
			c := &containers[i]
			for _, e := range unrestrictedContainer(pod, c) {
				say("spec.%s[%s]: %s", list, c.Name, e)
			}
		}
	}
	slices.Sort(errs)
	return errs
}

func unrestrictedContainer(pod *corev1.PodSecurityContext, c *corev1.Container) []string {
	var errs []string
	for _, p := range c.Ports {
		if p.HostPort != 0 {
			errs = append(errs, "a host port")
		}
	}
	s := c.SecurityContext
	if s == nil {
		s = &corev1.SecurityContext{}
	}
	if s.Privileged != nil && *s.Privileged {
		errs = append(errs, "securityContext.privileged")
	}
	if s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation {
		errs = append(errs, "securityContext.allowPrivilegeEscalation other than false")
	}
	nonRoot := pod.RunAsNonRoot
	if s.RunAsNonRoot != nil {
		nonRoot = s.RunAsNonRoot
	}
	if nonRoot == nil || !*nonRoot || isRoot(s.RunAsUser) {
		errs = append(errs, "running as root, or without runAsNonRoot")
	}
	if !seccomp(s.SeccompProfile, pod.SeccompProfile == nil) {
		errs = append(errs, "securityContext.seccompProfile other than RuntimeDefault or Localhost")
	}
	if s.Capabilities == nil || !slices.Contains(s.Capabilities.Drop, "ALL") {
		errs = append(errs, "securityContext.capabilities.drop without ALL")
	} else if slices.ContainsFunc(s.Capabilities.Add, func(c corev1.Capability) bool { return c != "NET_BIND_SERVICE" }) {
		errs = append(errs, "securityContext.capabilities.add of anything but NET_BIND_SERVICE")
	}
	if s.ProcMount != nil && *s.ProcMount != corev1.DefaultProcMount {
		errs = append(errs, "securityContext.procMount")
	}
	if !seLinux(s.SELinuxOptions) || !appArmor(s.AppArmorProfile) || windowsHost(s.WindowsOptions) {
		errs = append(errs, "SELinux type, user or role, an unconfined AppArmor profile, or a Windows host process")
	}
	for _, h := range handlers(c) {
		if h.HTTPGet != nil && h.HTTPGet.Host != "" || h.TCPSocket != nil && h.TCPSocket.Host != "" {
			errs = append(errs, "a host in a probe or a lifecycle handler")
		}
	}
	return errs
}

func handlers(c *corev1.Container) []corev1.ProbeHandler {
	var out []corev1.ProbeHandler
	for _, p := range []*corev1.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
		if p != nil {
			out = append(out, p.ProbeHandler)
		}
	}
	if l := c.Lifecycle; l != nil {
		for _, h := range []*corev1.LifecycleHandler{l.PostStart, l.PreStop} {
			if h != nil {
				out = append(out, corev1.ProbeHandler{HTTPGet: h.HTTPGet, TCPSocket: h.TCPSocket})
			}
		}
	}
	return out
}

// safeSysctls are those that concern the pod alone.
var safeSysctls = strings.Fields(`kernel.shm_rmid_forced net.ipv4.ip_local_port_range net.ipv4.ip_unprivileged_port_start
	net.ipv4.tcp_syncookies net.ipv4.ping_group_range net.ipv4.ip_local_reserved_ports net.ipv4.tcp_keepalive_time
	net.ipv4.tcp_fin_timeout net.ipv4.tcp_keepalive_intvl net.ipv4.tcp_keepalive_probes net.ipv4.tcp_rmem net.ipv4.tcp_wmem`)

func isRoot(user *int64) bool { return user != nil && *user == 0 }

// seccomp reports whether a profile will do; one that is not set does unless it is
// needed.
func seccomp(s *corev1.SeccompProfile, needed bool) bool {
	if s == nil {
		return !needed
	}
	return s.Type == corev1.SeccompProfileTypeRuntimeDefault || s.Type == corev1.SeccompProfileTypeLocalhost
}

func seLinux(o *corev1.SELinuxOptions) bool {
	return o == nil || o.User == "" && o.Role == "" && slices.Contains([]string{"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}, o.Type)
}

func appArmor(p *corev1.AppArmorProfile) bool {
	return p == nil || p.Type != corev1.AppArmorProfileTypeUnconfined
}

func windowsHost(o *corev1.WindowsSecurityContextOptions) bool {
	return o != nil && o.HostProcess != nil && *o.HostProcess
}
