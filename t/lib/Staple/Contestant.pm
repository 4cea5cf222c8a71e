# Licensed under the Apache License, Version 2.0; see LICENSE.

# The servers that t/bench/run compares, each in one configuration, and all with
# the same certificates.
#
#   for my $one (Staple::Contestant->all) {
#       next if $one->{missing};                # what is not installed
#       $one->start(\@leaves, $responder, 'SSLStaplingStandardCacheTimeout 3');
#       ... $one->port, $one->pid ...
#       $one->graceful; $one->again; $one->stop;
#   }
#
# Fields: name; base, the name of the same server without stapling (undef: it is
# that); missing; version; asks, whether it asks responders by itself; and how,
# the stapling in a word. Further arguments of start are lines for httpd's
# SSLStapling... directives; other servers have none of that kind.

package Staple::Contestant;

use strict;
use warnings;

use Staple::Httpd qw(stapling has_httpd_module);
use Staple::Peer;
use Staple::Work qw(work_dir read_file write_file run tool wait_for
                    kill);

# Whether HAProxy fetches responses itself (ocsp-update).
sub _haproxy_asks
{
    my ($version) = @_;
    my ($major, $minor) = $version =~ /(\d+)\.(\d+)/ or return 0;

    return $major > 2 || $major == 2 && $minor >= 8;
}

sub _version
{
    my ($program, @args) = @_;
    my $there = $program =~ m{/} ? $program : tool($program);
    my (undef, $said) = $there ? run($there, @args) : (0, '');

    return $said =~ /(\d+\.[\d.]+)/ ? $1 =~ s/\.$//r : '';
}

sub all
{
    my ($class) = @_;
    my $nginx = _version('nginx', '-v');
    my $haproxy = _version('haproxy', '-v');
    my $caddy = _version('caddy', 'version');
    my $updates = _haproxy_asks($haproxy);
    my @all = (
        ['httpd', undef, undef, \&_httpd, 'none'],
        ['httpd + mod_ssl stapling', 'httpd', undef, \&_httpd, 'mod_ssl'],
        ['httpd + mod_md stapling', 'httpd',
         has_httpd_module('md') ? undef : 'mod_md', \&_httpd, 'mod_md'],
        ['httpd + mod_staple', 'httpd', undef, \&_httpd, 'mod_staple'],
        ['nginx', undef, $nginx ? undef : 'nginx', \&_nginx, 'none'],
        ['nginx + ssl_stapling', 'nginx', $nginx ? undef : 'nginx', \&_nginx,
         'on'],
        ['haproxy', undef, $haproxy ? undef : 'haproxy', \&_haproxy, 'none'],
        [$updates ? 'haproxy + ocsp-update' : 'haproxy + .ocsp files',
         'haproxy', $haproxy ? undef : 'haproxy', \&_haproxy,
         $updates ? 'update' : 'files'],
        ['caddy without stapling', undef, $caddy ? undef : 'caddy', \&_caddy,
         'none'],
        ['caddy', 'caddy without stapling', $caddy ? undef : 'caddy', \&_caddy,
         'on'],
    );
    my %version = (httpd => _version(Staple::Httpd::program(), '-v'),
                   nginx => $nginx, haproxy => $haproxy, caddy => $caddy);

    return map {
        my ($name, $base, $missing, $make, $how) = @$_;
        my ($program) = split ' ', $name;

        bless { name => $name, base => $base, missing => $missing,
                make => $make, how => $how, program => $program,
                version => $version{$program},
                asks => $how ne 'none' && $how ne 'files' }, $class;
    } @all;
}

sub start
{
    my ($self, $leaves, $responder, @lines) = @_;

    $self->{patience} = 30 + @$leaves / 10; # seconds
    $self->{leaves} = $leaves;
    $self->{responder} = $responder;
    $self->{lines} = \@lines;
    $self->{dir} = '';
    return $self->again;
}

# Start it, with what it kept from its last life if there was one.
sub again
{
    my ($self) = @_;

    $self->{server} = $self->{make}->($self);
    return $self;
}

sub port { return $_[0]{server}->port }

sub pid { return $_[0]{server}->pid }

sub stop
{
    my ($self) = @_;

    return $self->{server} && $self->{server}->stop;
}

# A graceful restart, in the server's own way; returns at once.
sub graceful
{
    my ($self) = @_;
    my %signal = (httpd => 'USR1', nginx => 'HUP', haproxy => 'USR2');

    if (my $signal = $signal{ $self->{program} }) {
        kill $signal, $self->pid;
    }
    else {
        run('caddy', 'reload', '--force', '--config', $self->{conf},
            '--adapter', 'caddyfile', '--address', $self->{admin});
    }
}

# ----- httpd -----

my %httpd_with = (
    none       => sub { (staple => 0) },
    mod_ssl    => sub { (staple => 0, conf => stapling(@_)) },
    mod_md     => sub { (staple => 0, modules => ['watchdog', 'md'],
                         conf => "MDStoreDir {dir}/md\nMDStapling on\n") },
    mod_staple => sub { (staple => 1, conf => stapling(@_)) },
);

sub _httpd
{
    my ($self) = @_;

    # Its directory, with what was kept there, belongs to the object.
    if (!$self->{dir}) {
        $self->{httpd} = Staple::Httpd->new(
            log_level => 'warn', patience => $self->{patience},
            vhosts => [map { { cert => $_ } } @{ $self->{leaves} }],
            $httpd_with{ $self->{how} }->(@{ $self->{lines} }));
        $self->{dir} = $self->{httpd}->dir;
    }
    return $self->{httpd}->start;
}

# ----- nginx -----

sub _nginx_conf
{
    my ($self, $port, $dir) = @_;
    my $user = $> == 0 ? 'user ' . (Staple::Httpd::account())[0] . ';' : '';
    my $stapling = $self->{how} eq 'on' ? 'ssl_stapling on;' : '';
    my $servers = join "\n", map {
        "server { listen 127.0.0.1:$port ssl; server_name $_->{name};"
        . " ssl_certificate $_->{chain}; ssl_certificate_key $_->{key};"
        . " $stapling location / { return 204; } }"
    } @{ $self->{leaves} };

    return <<"END";
$user
daemon off; pid $dir/pid; error_log $dir/error.log;
worker_processes 2;
events { worker_connections 512; }
http {
    access_log off; server_names_hash_bucket_size 128;
    server_names_hash_max_size 32768;
    ssl_protocols TLSv1.2 TLSv1.3;
    client_body_temp_path $dir/a; proxy_temp_path $dir/b;
    fastcgi_temp_path $dir/c; uwsgi_temp_path $dir/d; scgi_temp_path $dir/e;
    $servers
}
END
}

sub _nginx
{
    my ($self) = @_;

    return Staple::Peer->start('nginx', sub {
        my ($port, $dir) = @_;
        my $conf = write_file("$dir/conf", $self->_nginx_conf($port, $dir));

        return ('nginx', '-c', $conf, '-e', "$dir/start.log");
    }, $self->{patience});
}

# ----- HAProxy -----

# A response out of a file, for versions that fetch none.
sub _haproxy_response
{
    my ($self, $leaf, $file) = @_;

    run('openssl', 'ocsp', '-issuer', $leaf->{issuer}, '-cert', $leaf->{cert},
        '-no_nonce', '-noverify', '-url', $self->{responder}->url,
        '-respout', $file);
}

sub _haproxy_files
{
    my ($self, $dir) = @_;
    my $option = $self->{how} eq 'update' ? ' [ocsp-update on]' : '';
    my @list;

    for my $leaf (@{ $self->{leaves} }) {
        my $file = write_file("$dir/certificates/$leaf->{name}.pem",
                              read_file($leaf->{chain})
                              . read_file($leaf->{key}));

        $self->_haproxy_response($leaf, "$file.ocsp")
            if $self->{how} eq 'files';
        push @list, "$file$option\n";
    }
    return write_file("$dir/list", join '', @list);
}

sub _haproxy
{
    my ($self) = @_;

    return Staple::Peer->start('haproxy', sub {
        my ($port, $dir) = @_;
        my $list = $self->_haproxy_files($dir);
        my $conf = write_file("$dir/conf", <<"END");
global
    nbthread 2
    ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
    mode http
    timeout client 10s
    timeout server 10s
    timeout connect 10s
frontend tls
    bind 127.0.0.1:$port ssl crt-list $list
    http-request return status 204
END
        return ('haproxy', '-W', '-db', '-f', $conf);
    }, $self->{patience});
}

# ----- Caddy -----

sub _caddy_conf
{
    my ($self, $port) = @_;
    my $stapling = $self->{how} eq 'on' ? '' : 'ocsp_stapling off';

    return <<"END" . join '', map { <<"SITE" } @{ $self->{leaves} };
{
    admin $self->{admin}
    auto_https off
    storage file_system $self->{dir}
    $stapling
}
END
https://$_->{name}:$port {
    bind 127.0.0.1
    tls $_->{chain} $_->{key}
    respond 204
}
SITE
}

sub _caddy
{
    my ($self) = @_;

    return Staple::Peer->start('caddy', sub {
        my ($port, $dir) = @_;

        # What it keeps of responses is there, also for its next life.
        $self->{dir} ||= "$dir/storage";
        ($self->{admin}) = map { "127.0.0.1:$_" } Staple::Work::free_ports(1);
        $self->{conf} = write_file("$dir/conf", $self->_caddy_conf($port));
        return ('env', "XDG_CONFIG_HOME=$dir", "XDG_DATA_HOME=$dir",
                tool('caddy'), 'run', '--config', $self->{conf}, '--adapter',
                'caddyfile');
    }, $self->{patience});
}

1;
