"""config.yaml and the environment, as frozen, validated values."""

from mirror.config.endpoints import EndpointConfig
from mirror.config.fields import Config
from mirror.config.loading import load
from mirror.config.upstreams import CredentialsConfig, ProxyConfig, UpstreamConfig

__all__ = ["Config", "CredentialsConfig", "EndpointConfig", "ProxyConfig", "UpstreamConfig", "load"]
