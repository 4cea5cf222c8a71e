# Licensed under the Apache License, Version 2.0; see LICENSE.

# What TLS clients make of a staple: each client that is installed, with each
# kind of staple, with a certificate that is must-staple and with one that is
# not. docs/clients.md is made of it, and t/363-clients.t compares.
#
#   my $clients = Staple::Clients->new;                 # those of this machine
#   my $clients = Staple::Clients->new(roots => [...]); # and those of chroots
#   my @rows = $clients->rows;  # { client, version, plain, must }, of which the
#                               # last two are hashes: situation to 1 or 0
#   print Staple::Clients::table(\@rows, 'must');
#
# The staples are sent by `openssl s_server`, which sends whatever it is given:
# what an administrator is to know includes what mod_staple never sends. A
# connection is one that brought a request (browsers, curl), or which the client
# says is good. All is on the loopback; nobody can ask a responder.

package Staple::Clients;

use strict;
use warnings;

use Staple::Answer;
use Staple::CA;
use Staple::Responder;
use Staple::Work qw(work_dir source_dir write_file read_file run spawn
                    is_running wait_for tool);

use constant DAY => 86400;

# The columns, and what each is.
our @situations = (
    [good => 'good'], [none => 'none'], [revoked => 'revoked'],
    [expired => 'expired'], [later => 'tryLater'], [sha256 => 'SHA-256'],
    [old => '11 days'], [chain => 'chain'],
    [bad_chain => 'chain, CA revoked'],
);

# ----- The clients -----

# Each: what it is called, the program, its version, and either `try`, which
# says whether one connection is good, or `visit`, which has a browser open a
# page that loads something from each server.
my @clients = (
    { name => '`openssl s_client -status`', program => 'openssl',
      version => \&_openssl_version, try => \&_try_openssl,
      args => ['-status'] },
    { name => '`openssl s_client -ocsp_check_leaf`', program => 'openssl',
      version => \&_openssl_version, try => \&_try_openssl,
      args => ['-ocsp_check_leaf'], needs => '-ocsp_check_leaf' },
    { name => '`openssl s_client -ocsp_check_all`', program => 'openssl',
      version => \&_openssl_version, try => \&_try_openssl,
      args => ['-ocsp_check_all'], needs => '-ocsp_check_all' },
    { name => '`curl`', program => 'curl', version => \&_curl_version,
      try => \&_try_curl, args => [] },
    { name => '`curl --cert-status`', program => 'curl',
      version => \&_curl_version, try => \&_try_curl,
      args => ['--cert-status'] },
    { name => '`gnutls-cli`', program => 'gnutls-cli',
      version => \&_gnutls_version, try => \&_try_gnutls },
    { name => 'NSS `tstclnt`', program => 'tstclnt',
      version => \&_nss_version, try => \&_try_nss, args => [] },
    { name => 'NSS `tstclnt -F`', program => 'tstclnt',
      version => \&_nss_version, try => \&_try_nss,
      args => ['-F', '-M', 1] },
    { name => 'Go `crypto/tls`', program => 'go', version => \&_go_version,
      try => \&_try_go },
    { name => 'Firefox', program => 'firefox-esr',
      version => \&_firefox_version, visit => \&_visit_firefox },
    { name => 'Chromium', program => 'chromium',
      version => \&_chromium_version, visit => \&_visit_chromium },
);

# A command of a client, in its chroot if it is of one.
sub _run
{
    my ($self, $root, @command) = @_;

    return run(@command) if !defined $root;
    return run('bash', '-c', '. "$0/t/lib/chroot.sh"; in_chroot "$@"',
               source_dir(), $root, @command);
}

sub _version
{
    my ($self, $root, $pattern, @command) = @_;
    my ($exit, $out) = $self->_run($root, @command);

    return $out =~ $pattern ? $1 : undef;
}

sub _openssl_version
{
    my ($self, $root) = @_;

    return $self->_version($root, qr/^OpenSSL (\d[\w.]*)/m,
                           'openssl', 'version');
}

sub _curl_version
{
    my ($self, $root) = @_;
    my ($exit, $out) = $self->_run($root, 'curl', '--version');

    return $out =~ m{^curl (\S+).*?OpenSSL/([\d.]+)}
        ? "$1, OpenSSL $2" : undef;
}

sub _gnutls_version
{
    my ($self, $root) = @_;

    return $self->_version($root, qr/^gnutls-cli (\S+)/m,
                           'gnutls-cli', '--version');
}

# The program does not say.
sub _nss_version
{
    my ($self, $root) = @_;

    return $self->_version($root, qr/(?:\d+:)?(\d+\.[\d.]*\d)/,
                           'dpkg-query', '-Wf', '${Version}', 'libnss3');
}

sub _go_version
{
    my ($self, $root) = @_;

    return $self->_version($root, qr/go(\d[\w.]*)/,
                           'go', 'version');
}

sub _firefox_version
{
    my ($self, $root) = @_;

    return $self->_version($root, qr/Firefox (\S+)/,
                           'firefox-esr', '--version');
}

sub _chromium_version
{
    my ($self, $root) = @_;

    return $self->_version($root, qr/Chromium (\d+)/,
                           'chromium', '--version');
}

sub _try_openssl
{
    my ($self, $client, $server) = @_;
    my ($exit, $out) = $self->_run(
        $client->{root}, 'openssl', 's_client', '-connect',
        "127.0.0.1:$server->{port}", '-servername', $server->{name},
        '-CAfile', $self->{ca_file}, '-verify_return_error',
        @{ $client->{args} });

    return $exit == 0 ? 1 : 0;
}

sub _try_curl
{
    my ($self, $client, $server) = @_;
    my ($exit) = $self->_run(
        $client->{root}, 'curl', '-sS', '--noproxy', '*', '--max-time', 30,
        '--cacert', $self->{ca_file}, '--resolve',
        "$server->{name}:$server->{port}:127.0.0.1", @{ $client->{args} },
        "https://$server->{name}:$server->{port}/page");

    return $exit == 0 ? 1 : 0;
}

sub _try_gnutls
{
    my ($self, $client, $server) = @_;
    my ($exit) = $self->_run(
        $client->{root}, 'gnutls-cli', '--x509cafile', $self->{ca_file},
        '--sni-hostname', $server->{name}, '--verify-hostname',
        $server->{name}, '--port', $server->{port}, '127.0.0.1');

    return $exit == 0 ? 1 : 0;
}

sub _try_nss
{
    my ($self, $client, $server) = @_;
    my ($exit) = $self->_run(
        $client->{root}, 'tstclnt', '-h', '127.0.0.1', '-p', $server->{port},
        '-a', $server->{name}, '-d', "sql:$self->{nss}", '-T', '-O', '-Q',
        @{ $client->{args} });

    return $exit == 0 ? 1 : 0;
}

sub _try_go
{
    my ($self, $client, $server) = @_;
    my $program = work_dir() . '/go-client';

    if (!-x $program) {
        local @ENV{qw(GO111MODULE GOFLAGS GOCACHE HOME)}
            = ('off', '', work_dir() . '/go-cache', work_dir());
        my ($exit, $out) = run('go', 'build', '-o', $program,
                               source_dir() . '/t/tools/client.go');
        die "go build: $out" if $exit;
    }
    my ($exit) = run($program, "127.0.0.1:$server->{port}", $server->{name},
                     $self->{ca_file});
    return $exit == 0 ? 1 : 0;
}

# ----- Browsers -----

# A page that loads something from each server.
sub _page
{
    my ($self) = @_;

    my $page = "<!DOCTYPE html><title>page</title>\n";

    $page .= "<img alt='' src='https://$_->{name}:$_->{port}/page'>\n"
        for @{ $self->{servers} };
    return write_file('page.html', $page);
}

sub _visit_firefox
{
    my ($self) = @_;
    my $profile = $self->_nss_database('firefox');

    # Nothing of its own goes out, and names are of this machine.
    write_file("$profile/user.js", map { qq{user_pref($_);\n} }
        '"network.dns.localDomains", "' . join(',', map { $_->{name} }
                                               @{ $self->{servers} }) . '"',
        '"network.proxy.type", 0', '"browser.shell.checkDefaultBrowser", false',
        '"datareporting.policy.dataSubmissionEnabled", false',
        '"app.update.enabled", false',
        '"dom.security.https_only_mode", false',
        '"network.captive-portal-service.enabled", false',
        '"services.settings.server", "http://127.0.0.1:1"',
        '"browser.safebrowsing.downloads.remote.enabled", false');
    local $ENV{HOME} = $profile;
    run('timeout', 120, 'firefox-esr', '--headless', '--no-remote', '--profile',
        $profile, '--screenshot', work_dir() . '/firefox.png',
        'file://' . $self->_page);
    return;
}

sub _visit_chromium
{
    my ($self) = @_;
    my $home = work_dir() . '/chromium';

    run('mkdir', '-p', "$home/.pki/nssdb");
    $self->_trust("$home/.pki/nssdb");
    local $ENV{HOME} = $home;
    run('timeout', 120, 'chromium', '--headless', '--no-sandbox',
        '--disable-gpu', '--disable-background-networking', '--no-first-run',
        "--user-data-dir=$home/profile",
        '--host-resolver-rules=MAP *.test 127.0.0.1',
        '--dump-dom', '--virtual-time-budget=30000',
        'file://' . $self->_page);
    return;
}

sub _nss_database
{
    my ($self, $name) = @_;
    my $dir = work_dir() . "/$name";

    mkdir $dir;
    $self->_trust($dir);
    return $dir;
}

sub _trust
{
    my ($self, $dir) = @_;

    for (['-N', '--empty-password'],
         ['-A', '-n', 'root', '-t', 'C,,', '-i', $self->{ca_file}],
         # tstclnt since NSS 3.110 does not take it from the handshake
         ['-A', '-n', 'intermediate', '-t', ',,', '-i',
          ($self->{ca}->issuer)[0]]) {
        my ($exit, $out) = run('certutil', @$_, '-d', "sql:$dir");
        die "certutil: $out" if $exit;
    }
    return;
}

# ----- The servers -----

# What a CA would say of the intermediate: the root has a responder, too.
sub Staple::Clients::Root::issuer { return @{ $_[0]{root} }{qw(cert key)} }

# The staples for a leaf in a situation. For the chain, the leaf's and the
# intermediate's.
sub _staples
{
    my ($self, $leaf, $situation) = @_;
    my $say = sub { answer($self->{responder}, $leaf, @_) };
    my $of_middle = sub {
        answer($self->{of_root}, { cert => $leaf->{issuer},
                                   issuer => $self->{ca}->root,
                                   serial => $self->{middle_serial} }, @_);
    };
    my %make = (
        good => sub { $say->('good') }, none => sub { () },
        revoked => sub { $say->('revoked 3600 1') },
        expired => sub { $say->(sprintf 'validity %d %d', -5 * DAY, -DAY) },
        later => sub { pack 'H*', '30030a0103' },
        sha256 => sub { $say->('good', '-sha256') },
        old => sub { $say->(sprintf 'validity %d %d', -11 * DAY, 30 * DAY) },
        chain => sub { ($say->('good'), $of_middle->('good')) },
        bad_chain => sub { ($say->('good'), $of_middle->('revoked 3600 2')) },
    );

    return $make{$situation}->();
}

# s_server that sends several staples: OpenSSL 3.6, of here or of a chroot.
sub _find_chain_server
{
    my ($self) = @_;

    for my $root (undef, @{ $self->{roots} }) {
        my ($exit, $out) = $self->_run($root, 'openssl', 's_server', '-help');
        return [$root] if $out =~ /-status_all/;
    }
    return;
}

# A leaf and the files with its staples. Each has its own certificate: a client
# may remember what it was told of one.
sub _make_site
{
    my ($self, $kind, $situation) = @_;
    my $name = "$situation-$kind.test" =~ tr/_/-/r;
    my $leaf = $self->{ca}->leaf(name => $name,
                                 ocsp => $self->{responder}->url,
                                 must_staple => $kind eq 'must');
    my $count = 0;
    my @files = map { write_file("$self->{dir}/$name." . $count++ . '.der',
                                 $_) } $self->_staples($leaf, $situation);

    return { name => $name, kind => $kind, situation => $situation,
             leaf => $leaf, files => \@files };
}

# Start the server of a site; returns whether it could be.
sub _serve
{
    my ($self, $site) = @_;
    my $leaf = $site->{leaf};
    my $dir = $self->{dir};
    my $log = $site->{log} = "$dir/$site->{name}.log";
    my @files = @{ $site->{files} };
    my $chain = @files > 1 ? $self->{chain_server} : undef;
    my @command = (
        'openssl', 's_server', '-accept', '127.0.0.1:0', '-cert',
        $leaf->{cert}, '-key', $leaf->{key}, '-cert_chain', $leaf->{issuer},
        (@files ? ('-status') : ()), ($chain ? ('-status_all') : ()),
        (map { ('-status_file', $_) } @files), '-WWW');

    return 0 if @files > 1 && !$chain;
    # s_server of 3.6 looks for the certificate by SHA-1, and sends nothing.
    return 0 if $site->{situation} eq 'sha256' && $self->{is_server_new};
    # It sends the files of the directory that it is started in.
    @command = ('sh', '-c', 'cd "$0" && exec "$@"', $dir, @command);
    @command = ('chroot', $chain->[0], @command) if $chain && $chain->[0];
    my $pid = spawn(name => $site->{name}, log => $log,
                    cmd => \@command);
    wait_for(sub { read_file($log) =~ /ACCEPT .*:\d+/ || !is_running($pid) });
    ($site->{port}) = read_file($log) =~ /ACCEPT .*:(\d+)/
        or die "s_server did not start: ", read_file($log);
    return 1;
}

# ----- All of it -----

# Options: roots (directories of Debian systems whose clients are tried as
# well), only (names of programs).
sub new
{
    my ($class, %o) = @_;
    my $ca = Staple::CA->new(key => 'rsa', name => 'Clients');
    my $responder = Staple::Responder->new($ca);
    my $self = bless {
        roots => $o{roots} // [], only => $o{only}, ca => $ca,
        responder => $responder, ca_file => $ca->root,
        of_root => Staple::Responder->new(
            bless { root => $ca->{root} }, 'Staple::Clients::Root'),
        dir => work_dir() . '/served',
    }, $class;
    my (undef, $out) = run('openssl', 'x509', '-noout', '-serial', '-in',
                           ($ca->issuer)[0]);

    ($self->{middle_serial}) = $out =~ /serial=(\w+)/;
    mkdir $self->{dir};
    write_file("$self->{dir}/page", "a page\n");
    $self->{nss} = $self->_nss_database('nss') if tool('certutil');
    $self->{chain_server} = $self->_find_chain_server;
    $self->{is_server_new} = (run('openssl', 's_server', '-help'))[1]
        =~ /-status_all/;
    return $self;
}

# What is in the work directory, at the same place in a chroot.
sub _copy_into_roots
{
    my ($self) = @_;

    for my $root (@{ $self->{roots} }) {
        run('mkdir', '-p', $root . work_dir());
        run('cp', '-a', work_dir() . '/.', $root . work_dir());
    }
    return;
}

sub _start_servers
{
    my ($self) = @_;

    my @sites;

    for my $kind (qw(plain must)) {
        push @sites, map { $self->_make_site($kind, $_->[0]) } @situations;
    }
    $self->_copy_into_roots;
    $self->{servers} = [grep { $self->_serve($_) } @sites];
    $self->{responder}->tell('refuse');
    $self->{of_root}->tell('refuse');
    return;
}

# How often a server was asked for something.
sub _requests { return scalar(() = read_file($_[0]{log}) =~ /^FILE:/mg) }

sub _row
{
    my ($self, $client) = @_;
    my %row = (client => $client->{name}, version => $client->{version_found},
               is_browser => $client->{visit} ? 1 : 0, plain => {}, must => {});
    my %before = map { $_->{log} => _requests($_) } @{ $self->{servers} };

    $client->{visit}->($self) if $client->{visit};
    for my $server (@{ $self->{servers} }) {
        $row{ $server->{kind} }{ $server->{situation} }
            = $client->{visit} ? (_requests($server) > $before{ $server->{log} }
                                  ? 1 : 0)
            : $client->{try}->($self, $client, $server);
    }
    return \%row;
}

# Browsers, and what is built here, are those of this machine.
sub _is_there
{
    my ($client, $root) = @_;

    return defined tool($client->{program}) if !defined $root;
    return !$client->{visit} && $client->{program} ne 'go'
        && -x "$root/usr/bin/$client->{program}";
}

# The clients that are there, each with its root and version.
sub found
{
    my ($self) = @_;
    my @found;

    for my $client (@clients) {
        my %seen;

        for my $root (undef, @{ $self->{roots} }) {
            next if $self->{only}
                && !grep { $_ eq $client->{program} } @{ $self->{only} };
            next if !_is_there($client, $root);
            next if $client->{program} eq 'tstclnt' && !$self->{nss};
            next if $client->{visit} && !$self->{nss};
            my $version = $client->{version}->($self, $root) // next;
            next if $seen{$version}++;
            next if $client->{needs}
                && ($self->_run($root, 'openssl', 's_client', '-help'))[1]
                   !~ /$client->{needs}\b/;
            push @found, { %$client, root => $root,
                           version_found => $version };
        }
    }
    return @found;
}

# One row a client and version. The progress is told to `told`, if it is given.
sub rows
{
    my ($self, $told) = @_;

    $self->_start_servers if !$self->{servers};
    return map { $told->($_) if $told; $self->_row($_) } $self->found;
}

# ----- The table -----

# One of the two kinds, in Markdown.
sub table
{
    my ($rows, $kind) = @_;
    my @lines = ('| client | version | '
                 . join(' | ', map { $_->[1] } @situations) . ' |',
                 '| --- ' x (2 + @situations) . '|');

    for my $row (@$rows) {
        push @lines, "| $row->{client} | $row->{version} | "
            . join(' | ', map { _word($row->{$kind}{ $_->[0] }) } @situations)
            . ' |';
    }
    return join '', map { "$_\n" } @lines;
}

sub _word { return !defined $_[0] ? '' : $_[0] ? 'yes' : 'no' }

# What a table says: client and version to a hash of situations.
sub read_table
{
    my ($text) = @_;
    my ($head, undef, @lines) = split /\n/, $text;
    my %said;

    for my $line (@lines) {
        my ($client, $version, @words) = $line =~ /(?<=\| )(.*?)(?= \|)/g;

        $said{$client}{$version} = {
            map { $words[$_] =~ /^(?:yes|no)$/
                  ? ($situations[$_][0] => $words[$_] eq 'yes' ? 1 : 0) : () }
            0 .. $#situations };
    }
    return \%said;
}

1;
