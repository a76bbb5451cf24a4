{{/* Names and labels. */}}

{{- define "tcpforward.name" -}}
{{- .Values.nameOverride | default .Chart.Name -}}
{{- end }}

{{/* At most 30 characters, so that there is room for what follows. */}}
{{- define "tcpforward.fullname" -}}
{{- $name := include "tcpforward.name" . -}}
{{- $both := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- .Values.fullnameOverride | default $both | trunc 30 | trimSuffix "-" -}}
{{- end }}

{{- define "tcpforward.operator" -}}
{{- include "tcpforward.fullname" . -}}-operator
{{- end }}

{{/* What data planes dial and the operator's certificate is for. */}}
{{- define "tcpforward.serverName" -}}
{{- printf "%s.%s.svc" (include "tcpforward.operator" .) .Release.Namespace -}}
{{- end }}

{{- define "tcpforward.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end }}

{{/* Labels that select the pods of a component: list, root and component. */}}
{{- define "tcpforward.selector" -}}
{{- $root := first . -}}
app.kubernetes.io/name: {{ include "tcpforward.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ last . }}
{{- end }}

{{/* Labels of everything: list, root and component. */}}
{{- define "tcpforward.labels" -}}
{{- $root := first . -}}
{{ include "tcpforward.selector" . }}
app.kubernetes.io/part-of: tcpforward
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* A pool with its defaults, as JSON: list, root and the pool of the values. */}}
{{- define "tcpforward.pool" -}}
{{- $root := first . -}}
{{- $pool := mustMergeOverwrite (deepCopy $root.Values.poolDefaults) (last .) -}}
{{- $_ := set $pool "fullname" (printf "%s-%s" (include "tcpforward.fullname" $root) $pool.name) -}}
{{- mustToJson $pool -}}
{{- end }}
