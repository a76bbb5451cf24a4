{{/* The operator's rights: each verb is one that it uses, which a test compares with an API server's
     audit log. Secrets that TcpForwards name are not among them: a namespace grants those itself. */}}

{{/* Of the whole cluster, however few namespaces are watched. */}}
{{- define "tcpforward.rules.cluster" -}}
{{- /* Operators see each other by their Leases, wherever they are. */ -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [list]
- apiGroups: [authentication.k8s.io]
  resources: [tokenreviews]
  verbs: [create]
- apiGroups: [""]
  resources: [namespaces, nodes]
  verbs: [list, watch]
- apiGroups: [networking.k8s.io]
  resources: [servicecidrs]
  verbs: [list, watch]
- apiGroups: [tcpforward.dev]
  resources: [dataplanes]
  verbs: [list, watch]
- apiGroups: [tcpforward.dev]
  resources: [dataplanes/status]
  verbs: [patch]
{{- end }}

{{/* Of each namespace whose TcpForwards are served. */}}
{{- define "tcpforward.rules.watched" -}}
- apiGroups: [tcpforward.dev]
  resources: [tcpforwards]
  verbs: [list, watch]
- apiGroups: [tcpforward.dev]
  resources: [tcpforwards/status]
  verbs: [patch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
- apiGroups: [""]
  resources: [services]
  verbs: [list, watch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
- apiGroups: [gateway.networking.k8s.io]
  resources: [referencegrants]
  verbs: [list, watch]
{{- end }}

{{/* Of the release's namespace. A right to create can't be bound to a name. */}}
{{- define "tcpforward.rules.home" -}}
{{- $name := include "tcpforward.operator" . -}}
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [services]
  verbs: [create, delete, list, patch, watch]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ $name }}]
  verbs: [get, update]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [create]
- apiGroups: [""]
  resources: [configmaps]
  resourceNames: [{{ $name }}-ca]
  verbs: [get, update]
{{- if not .Values.operator.tls.secretName }}
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [{{ $name }}-tls]
  verbs: [get, update]
{{- end }}
{{- end }}
