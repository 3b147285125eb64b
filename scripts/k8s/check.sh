#!/usr/bin/env bash
# Builds the manifests with kustomize, as kubectl apply -k does, and checks them strictly with kubeconform. Schemas come from
# pinned packages, once, into a folder of the user's cache: those of Kubernetes from the Python package kubernetes-validate,
# that of JobSet from the custom resource definition in its Go module. Afterwards no network is needed.
set -euo pipefail
cd "$(dirname "$0")"
kubernetes=1.34.0
kubeconform=github.com/yannh/kubeconform
version=v0.8.0 # of kubeconform
kustomize=sigs.k8s.io/kustomize/kustomize/v5@v5.7.1
jobset=sigs.k8s.io/jobset@v0.10.1
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ringo/kubernetes-$kubernetes-1

folder() { # of a Go module at a version
  go mod download -json "$1" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p'
}
if [ ! -e "$cache/complete" ]; then
  rm -rf "$cache"
  mkdir -p "$cache/crd"
  python3 -m venv "$cache/venv"
  "$cache/venv/bin/pip" install -q --disable-pip-version-check kubernetes-validate==1.37.0 PyYAML==6.0.3
  "$cache/venv/bin/python" - $kubernetes "$cache/kinds" <<'PYTHON'
# The package keeps definitions in one file for all kinds; kubeconform wants each kind whole.
import json, os, sys
import kubernetes_validate
version, to = sys.argv[1:]
folder = os.path.join(os.path.dirname(kubernetes_validate.__file__), "kubernetes-json-schema", f"v{version}-local-strict")
def read(name):
    return open(os.path.join(folder, name)).read().replace("/api/_definitions.json#", "#").replace("#/$defs/", "#/definitions/")
definitions = json.loads(read("_definitions.json"))["$defs"]
os.makedirs(to)
for kind in ["job-batch-v1", "persistentvolumeclaim-v1", "secret-v1", "service-v1"]:
    schema = json.loads(read(kind + ".json"))
    schema["definitions"] = definitions
    json.dump(schema, open(os.path.join(to, kind + ".json"), "w"))
PYTHON
  convert=$(folder $kubeconform@$version)/scripts/openapi2jsonschema.py
  crd=$(folder $jobset)/config/components/crd/bases/jobset.x-k8s.io_jobsets.yaml
  (cd "$cache/crd" && DENY_ROOT_ADDITIONAL_PROPERTIES=1 FILENAME_FORMAT='{kind}-{group}-{version}' "$cache/venv/bin/python" "$convert" "$crd" >/dev/null)
  rm -rf "$cache/venv"
  touch "$cache/complete"
fi
for what in . jobset; do
  echo "$what"
  {
    go run $kustomize build "$what"
    echo ---
    cat secret.yaml
  } | go run $kubeconform/cmd/kubeconform@$version -strict -summary -kubernetes-version $kubernetes \
    -schema-location "$cache/kinds/{{.ResourceKind}}{{.KindSuffix}}.json" \
    -schema-location "$cache/crd/{{.ResourceKind}}{{.KindSuffix}}.json" -
done
