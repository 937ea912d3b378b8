"""Addresses and networks, each in the one spelling that they are compared in."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_interface, ip_network
from typing import NamedTuple, TypeAlias

from asgi_guard.errors import ConfigurationError

Network: TypeAlias = IPv4Network | IPv6Network

_MOST_KNOWN = 4096
_LONGEST_HOST = 64
_SHOWN_PREFIX = {4: 24, 6: 64}
_MAPPED_PREFIX = 96


class Known(NamedTuple):
    """What is known of a host.

    Attributes:
        address: Its address, without zone; of an IPv4 address in IPv6, the IPv4 address.
        is_trusted: Whether it is in one of the networks.
    """

    address: str
    is_trusted: bool


def knowing(networks: Sequence[Network]) -> Callable[[str], Known | None]:
    """Return what knows a host by its address: None for what is no address.

    It remembers the hosts that were asked for last; whoever invents some makes others slower by a
    few microseconds.
    """

    @lru_cache(maxsize=_MOST_KNOWN)
    def known(host: str) -> Known | None:
        try:
            address = ip_address(host)
        except ValueError:
            return None
        address = getattr(address, "ipv4_mapped", None) or address
        trusted = any(address in network for network in networks)
        return Known(str(address).partition("%")[0], trusted)

    return lambda host: known(host) if len(host) <= _LONGEST_HOST else None


def network_of(address: str) -> str:
    """Return the network that an address is likely to share with its neighbours."""
    prefix = _SHOWN_PREFIX[ip_address(address).version]
    return str(ip_network((address, prefix), strict=False))


def parse_network(field: str, network: object, allowed: str) -> Network:
    """Return an address or a network in CIDR notation as a network.

    Args:
        field: The setting.
        network: What it was set to.
        allowed: What it may be.

    Raises:
        ConfigurationError: It is neither, or has bits beyond its prefix: then the message names
            what was probably meant.
    """
    if not isinstance(network, str) or "%" in network:
        raise ConfigurationError(field, network, allowed)
    try:
        parsed, address = ip_network(network, strict=False), ip_interface(network).ip
    except ValueError as error:
        raise ConfigurationError(field, network, allowed) from error
    if address != parsed.network_address:
        raise ConfigurationError(field, network, f"'{parsed}', or '{address}' for one address")
    mapped = getattr(parsed.network_address, "ipv4_mapped", None)
    if mapped is None:
        return parsed
    return IPv4Network((mapped, parsed.prefixlen - _MAPPED_PREFIX))
