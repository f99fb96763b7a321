# Stands in for Terraform where there is none: it plans one thing and "applies"
# it. The plan has the form of `terraform show -json`.
set -eu
case $1 in
plan)
	echo "planning the beacon of pad-1"
	printf '%s\n' '{"format_version":"1.2","terraform_version":"1.4.0","resource_changes":[{"address":"stand_in.beacon","mode":"managed","type":"stand_in","name":"beacon","provider_name":"stand-in","change":{"actions":["create"],"before":null,"after":{"pad":"pad-1"},"after_unknown":{}}}],"output_changes":{}}' >"$2"
	;;
apply)
	[ -s "$2" ] || { echo "the plan is not in the workspace" >&2; exit 1; }
	echo "beacon of pad-1 is lit"
	;;
outputs)
	printf '%s\n' '{"beacon":{"sensitive":false,"type":"string","value":"lit for pad-1"}}'
	;;
esac
