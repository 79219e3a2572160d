#!/bin/sh
# Run by udhcpc on a machine of the lab: sets the address and tells the lab.
case "$1" in
deconfig)
	ip addr flush dev "$interface"
	ip link set "$interface" up
	echo "labgate-lab deconfigured"
	;;
bound | renew)
	env | sort >/run/lease.env
	ip addr replace "$ip/${mask:-24}" dev "$interface"
	for one in $(ip -4 -o addr show dev "$interface" | sed 's/.* inet \([^ ]*\) .*/\1/'); do
		[ "$one" = "$ip/${mask:-24}" ] || ip addr del "$one" dev "$interface"
	done
	[ -n "$router" ] && ip route replace default via "${router%% *}" dev "$interface"
	{
		[ -n "$search$domain" ] && echo "search ${search:-$domain}"
		for one in $dns; do echo "nameserver $one"; done
		echo "options timeout:2 attempts:2"
	} >/etc/resolv.conf
	echo "labgate-lab bound $ip"
	;;
*)
	echo "labgate-lab $1"
	;;
esac
