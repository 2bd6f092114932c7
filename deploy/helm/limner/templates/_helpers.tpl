{{/* Names, labels and the parts of pods that several templates share. */}}

{{- define "limner.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "limner.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "limner.labels" -}}
{{ include "limner.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "limner.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "limner.fullname" .) -}}
{{- end -}}

{{/* image: {repository, tag, digest}, defaultTag */}}
{{- define "limner.image" -}}
{{- if .image.digest -}}
{{- printf "%s@%s" .image.repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" .image.repository (.image.tag | default .defaultTag) -}}
{{- end -}}
{{- end -}}

{{/* What every pod is: no token, no variables of services, nobody's rights. */}}
{{- define "limner.pod" -}}
serviceAccountName: {{ include "limner.serviceAccount" . }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "limner.placement" -}}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* A setting as the environment has it: lists with commas, numbers without an exponent. */}}
{{- define "limner.setting" -}}
{{- if kindIs "slice" . -}}
{{- join "," . -}}
{{- else if and (kindIs "float64" .) (eq (floor .) .) -}}
{{- int64 . -}}
{{- else -}}
{{- . -}}
{{- end -}}
{{- end -}}

{{/* name, secret: {secretName, key} */}}
{{- define "limner.secretVariable" -}}
{{- if .secret.secretName -}}
- name: {{ .name }}
  valueFrom:
    secretKeyRef:
      name: {{ .secret.secretName }}
      key: {{ .secret.key }}
{{- end -}}
{{- end -}}

{{/* The variables of whoever opens the store: server and toolbox. */}}
{{- define "limner.serverVariables" -}}
{{- $secrets := list
      (dict "name" "LIMNER_STORE" "secret" .Values.store)
      (dict "name" "LIMNER_BUS" "secret" .Values.bus)
      (dict "name" "LIMNER_INDEX" "secret" .Values.index)
      (dict "name" "LIMNER_EVENTS" "secret" .Values.events)
      (dict "name" "LIMNER_SECRET_KEY" "secret" .Values.secretKey)
      (dict "name" "LIMNER_WEBHOOK_SECRET" "secret" .Values.webhookSecret) -}}
{{- range $secrets }}
{{- with include "limner.secretVariable" . }}
{{ . }}
{{- end }}
{{- end }}
{{- with .Values.artifacts.url }}
- name: LIMNER_ARTIFACTS
  value: {{ . | quote }}
{{- end }}
{{- range $name, $value := .Values.settings }}
- name: LIMNER_{{ upper $name }}
  value: {{ include "limner.setting" $value | quote }}
{{- end }}
{{- end -}}

{{/* The server's own folder, and one for temporary files: all that it may write to. */}}
{{- define "limner.serverVolumes" -}}
- name: home
  {{- if .Values.persistence.enabled }}
  persistentVolumeClaim:
    claimName: {{ .Values.persistence.existingClaim | default (printf "%s-server" (include "limner.fullname" .)) }}
  {{- else }}
  emptyDir:
    sizeLimit: {{ .Values.server.scratch }}
  {{- end }}
- name: tmp
  emptyDir:
    sizeLimit: {{ .Values.server.scratch }}
{{- end -}}

{{- define "limner.mounts" -}}
- name: home
  mountPath: /project/.limner
- name: tmp
  mountPath: /tmp
{{- end -}}
