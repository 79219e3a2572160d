#!/bin/sh
# Run by dhclient on a machine of the lab: sets the address and tells the lab.
case "$reason" in
PREINIT)
	ip link set "$interface" up
	;;
BOUND | RENEW | REBIND | REBOOT)
	env | sort >/run/lease.env
	ip addr flush dev "$interface" scope global
	bits=0
	for byte in $(echo "$new_subnet_mask" | tr . ' '); do
		while [ "$byte" -gt 0 ]; do
			bits=$((bits + byte % 2))
			byte=$((byte / 2))
		done
	done
	ip addr add "$new_ip_address/$bits" dev "$interface"
	[ -n "$new_routers" ] && ip route replace default via "${new_routers%% *}" dev "$interface"
	{
		[ -n "$new_domain_name" ] && echo "search $new_domain_name"
		for one in $new_domain_name_servers; do echo "nameserver $one"; done
		echo "options timeout:2 attempts:2"
	} >/etc/resolv.conf
	echo "labgate-lab bound $new_ip_address"
	;;
RELEASE | EXPIRE | STOP | FAIL)
	ip addr flush dev "$interface" scope global
	echo "labgate-lab $reason"
	;;
esac
exit 0
