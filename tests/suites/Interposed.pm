# Puts the proxy in front of every server that a TAP test of PostgreSQL starts.
#
#   TAP_PROXY=PROGRAM TAP_CONFIG=FRAGMENT perl -MInterposed t/001_basic.pl
#
# The server listens in a directory beside the one that the test knows, the proxy in
# that one, on the same port. Without TAP_PROXY nothing is in between, and nothing else
# differs. Loaded before the test, which then finds PostgreSQL::Test::Cluster changed.
package Interposed;

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils ();
use Time::HiRes qw(usleep);

my $program = $ENV{TAP_PROXY};
my %proxies;

sub behind { return $_[0]->host . '/behind' }

sub configure
{
	my ($node) = @_;
	return unless $program;
	mkdir behind($node);
	# The last of two lines for one setting counts.
	$node->append_conf('postgresql.conf', "unix_socket_directories = '" . behind($node) . "'");
	return;
}

sub proxy
{
	my ($node) = @_;
	my ($host, $port) = ($node->host, $node->port);
	return if !$program || $proxies{"$host/$port"};
	my $file = $node->basedir . '/proxy.toml';
	open my $config, '>', $file or die "$file: $!";
	print $config <<"TOML";
upstream = "server"
[listen]
addresses = []
unix_socket_dirs = ["$host"]
unix_socket_port = $port
[upstreams.server]
host = "@{[behind($node)]}"
port = $port
sslmode = "disable"
[log]
level = "warn"
TOML
	print $config PostgreSQL::Test::Utils::slurp_file($ENV{TAP_CONFIG}) if $ENV{TAP_CONFIG};
	close $config;
	my $pid = fork;
	die "fork: $!" unless defined $pid;
	if (!$pid)
	{
		open STDIN,  '<',  '/dev/null';
		open STDOUT, '>>', $node->basedir . '/proxy.log';
		open STDERR, '>&', \*STDOUT;
		delete @ENV{ grep { /^PG/ } keys %ENV };
		exec $program, 'run', '-c', $file or POSIX::_exit(127);
	}
	$proxies{"$host/$port"} = $pid;
	Test::More::note("the proxy $pid is in front of ", $node->name);
	for (1 .. 200)
	{
		return if -S "$host/.s.PGSQL.$port";
		usleep(50_000);
	}
	die "the proxy of $host does not start: " . PostgreSQL::Test::Utils::slurp_file($node->basedir . '/proxy.log');
}

{
	no strict 'refs';
	no warnings 'redefine';
	for my $name (qw(init init_from_backup))
	{
		my $original = \&{"PostgreSQL::Test::Cluster::$name"};
		*{"PostgreSQL::Test::Cluster::$name"} = sub { $original->(@_); configure($_[0]); return };
	}
	my $start = \&PostgreSQL::Test::Cluster::start;
	*PostgreSQL::Test::Cluster::start = sub {
		my $started = $start->(@_);
		proxy($_[0]) if $started;
		return $started;
	};
}

# Not in the children that a test forks.
my $self = $$;

END
{
	my $status = $?;
	for my $pid ($$ == $self ? values %proxies : ()) { kill 'QUIT', $pid; waitpid $pid, 0; }
	$? = $status;
}

1;
