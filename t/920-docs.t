# Licensed under the Apache License, Version 2.0; see LICENSE.

# The documents are true: each piece of configuration in docs/, README and the
# manual pages passes httpd -t, what is marked `sh run` is run against a server
# and says what the page says, other shell parses, the example files are those
# that the pages show, every link inside the project leads somewhere, and each
# folder with code has a README.md.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Find qw(find);

my $top = abs_path("$FindBin::Bin/..");
my (@pages, @manuals, @examples);

# Where code of ours lies, and so a README.md that says what it is.
sub folders
{
    my %is;

    find({ no_chdir => 1, wanted => sub {
        my $path = substr "$_/", length "$top/";
        $File::Find::prune = 1 if $path =~ m{^(?:\..|packages/|mod_staple-)};
        $is{ dirname($_) } = 1 if m{\.(?:[ch]|pm|m4|spec\.in)\z};
    } }, $top);
    delete @is{ $top, "$top/packaging/rpm" };
    return sort keys %is, "$top/t", "$top/packaging";
}

find({ no_chdir => 1, wanted => sub {
    push @pages, $_ if /\.md$/;
    push @manuals, $_ if /\.[18]$/;
    push @examples, $_ if m{/examples/.*\.(?:conf|load)$};
} }, "$top/docs");
push @pages, "$top/README", "$top/SECURITY.md",
    grep { -e } map { "$_/README.md" } folders();

sub short { return substr $_[0], length "$top/" }

# ----- what is on a page -----

# A line that only httpd's configuration has.
my $directive = qr{^(?:</?[A-Z]\w+(?:[ >]|$)
                     |(?:SSL|Staple|MD)[A-Z]\w+[ ]+\S
                     |(?:LoadModule|LogLevel|Include|IncludeOptional|ServerName
                        |SetHandler|Require|Mutex|CustomLog|LogFormat)[ ]+\S)}x;

# Whether an unmarked block is configuration: each of its lines is.
sub is_configuration
{
    my @lines = grep { /\S/ && !/^\s*#/ } split /\n/, $_[0];

    return @lines && !grep { !/^\s*$directive/ } @lines;
}

# The blocks of a page, in order: mark, text, line. Fenced blocks keep their
# mark; indented ones are marked `apache` if they look like it.
sub blocks
{
    my ($path) = @_;
    my @found;
    my ($fence, $indented);
    my $number = 0;

    for my $line (split(/\n/, read_file($path))) {
        $number++;
        if ($fence) {
            if ($line =~ /^```\s*$/) { push @found, $fence; undef $fence }
            else                     { $fence->{text} .= "$line\n" }
        }
        elsif ($line =~ /^```(.*)$/) {
            $fence = { mark => $1, text => '', line => $number };
        }
        elsif ($line =~ /^    (.*)$/) {
            $indented //= { mark => '', text => '', line => $number };
            $indented->{text} .= "$1\n";
        }
        elsif ($indented && $line !~ /\S/) {
            $indented->{text} .= "\n";
        }
        elsif ($indented) {
            push @found, $indented;
            undef $indented;
        }
    }
    push @found, $indented if $indented;
    for (@found) {
        $_->{mark} = 'apache'
            if $_->{mark} eq '' && is_configuration($_->{text});
    }
    return @found;
}

# The examples (.EX to .EE) of a manual page that are configuration.
sub manual_blocks
{
    my $text = read_file($_[0]) =~ s/\\-/-/gr;

    return map { { mark => 'apache', text => $_, line => '.EX' } }
        grep { is_configuration($_) } $text =~ /^\.EX\n(.*?)^\.EE$/gms;
}

# ----- a server to try things on -----

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my %leaf = (
    www  => $ca->leaf(name => 'www.example.com', ocsp => $responder->url),
    rsa  => $ca->leaf(name => 'www.example.com', ocsp => $responder->url,
                      key => 'rsa'),
    must => $ca->leaf(name => 'must.example.com', ocsp => $responder->url,
                      must_staple => 1));
my %module = map { $_ => 1 } qw(staple ssl socache_shmcb authz_core unixd);
my @more = grep { has_httpd_module($_) }
    qw(watchdog authz_host alias auth_basic authn_core authn_file authz_user dir
       env headers log_config md mime remoteip setenvif socache_dbm
       socache_memcache socache_redis status);
$module{$_} = 1 for @more;

my $checked = Staple::Httpd->new(modules => \@more);

# What is said of places on a page, said of places that are here.
sub localize
{
    my ($text) = @_;

    $text =~ s{^(\s*)LoadModule\s+(\w+)_module\s.*$}
              {$module{$2} ? "$1# loaded: $2" : $&}gme;
    $text =~ s{^(\s*SSLCertificateFile\s+).*$}{$1$leaf{www}{chain}}gm;
    $text =~ s{^(\s*SSLCertificateKeyFile\s+).*$}{$1$leaf{www}{key}}gm;
    $text =~ s{^(\s*(?:SSLCertificateChainFile|SSLCACertificateFile)\s+).*$}
              {$1$leaf{www}{issuer}}gm;
    $text =~ s{^(\s*ChrootDir\s+).*$}{$1/}gm;
    $text =~ s{^(\s*)LoadFile\s+(\S+)}{-e $2 ? $& : "$1# elsewhere: $2"}gme;
    $text =~ s{^(\s*)Include\s}{$1IncludeOptional }gm;
    return $text;
}

sub passes
{
    my ($what, $text) = @_;

    $checked->{conf} = localize($text);
    $checked->write_conf;
    my ($exit, $said) = $checked->configtest;
    is($exit, 0, "$what: httpd -t") or diag $said, $text;
}

# ----- configuration -----

for my $page (@pages) {
    for my $block (grep { $_->{mark} =~ /^apache/ } blocks($page)) {
        passes(short($page) . ":$block->{line}", $block->{text});
    }
}
for my $manual (@manuals) {
    passes(short($manual), $_->{text}) for manual_blocks($manual);
}
for my $example (@examples) {
    passes(short($example), read_file($example));
}

# ----- shell -----

my $httpd = Staple::Httpd->new(
    conf   => stapling(),
    vhosts => [{ certs => [@leaf{qw(www rsa)}], name => 'www.example.com' },
               { cert => $leaf{must} }]);
$httpd->start;
for my $key (qw(ec rsa)) {
    wait_for_staple($httpd, 'good', name => 'www.example.com', key => $key);
}

# curl finds its way by its own configuration, the others by other arguments.
my $port = $httpd->port;
write_file('home/.curlrc', "noproxy = \"*\"\ncacert = \"" . $ca->root . "\"\n"
           . "connect-to = \"www.example.com:443:127.0.0.1:$port\"\n");
$ENV{CURL_HOME} = work_dir() . '/home';

sub run_here
{
    my ($text) = @_;

    $text =~ s{-connect www\.example\.com:443}{-connect 127.0.0.1:$port}g;
    $text =~ s{gnutls-cli --ocsp www\.example\.com}
              {gnutls-cli --ocsp --x509cafile @{[ $ca->root ]} --port $port
               --sni-hostname www.example.com --verify-hostname www.example.com
               127.0.0.1}g;
    $text =~ s{/etc/ssl/certs/(\w+)\.example\.com\.pem}{$leaf{$1}{cert}}g;
    $text =~ s/\n +(?=--|127)/ /g;
    return run('bash', '-c', $text);
}

# Each line of the page's answer is in what was said; ... is anything.
sub says
{
    my ($what, $said, $expected) = @_;

    for my $line (grep { /\S/ } split /\n/, $expected) {
        my $pattern = join '.*', map { quotemeta } split /\Q...\E/,
            $line =~ s/^\s+|\s+$//gr, -1;
        like($said, qr/$pattern/, "$what: says \"$line\"");
    }
}

for my $page (@pages) {
    my @blocks = blocks($page);

    for my $n (0 .. $#blocks) {
        my ($mark, $text) = @{ $blocks[$n] }{qw(mark text)};
        my $what = short($page) . ":$blocks[$n]{line}";

        next if $mark !~ /^sh\b/;
        my $script = write_file('block.sh', $text);
        my ($exit, $said) = run('bash', '-n', $script);
        is($exit, 0, "$what: is shell") or diag $said, $text;
        next if $mark ne 'sh run';
        my ($program) = $text =~ /^(\S+)/;
        SKIP: {
            skip "$what: no $program", 1 if !tool($program);
            ($exit, $said) = run_here($text);
            is($exit, 0, "$what: runs") or diag $said;
            my $next = $blocks[$n + 1];
            says($what, $said, $next->{text})
                if $next && $next->{mark} eq 'text' && $exit == 0;
        }
    }
}
ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok;

# ----- the examples are what the pages show -----

my $cpanel = read_file("$top/docs/cpanel.md");
for my $example (grep { m{/cpanel-} } @examples) {
    my @lines = grep { /\S/ && !/^\s*#/ } split /\n/, read_file($example);
    my @missing = grep {
        my $line = s/^\s+|\s+$//gr;
        $cpanel !~ /^\s*\Q$line\E\s*$/m
    } @lines;

    is_deeply(\@missing, [], short($example) . ': each line is in cpanel.md')
        if $example !~ m{/cpanel-ea3/};
}

# ----- the folders -----

for my $folder (folders()) {
    my $readme = -e "$folder/README.md" ? read_file("$folder/README.md") : '';

    like($readme, qr/^Start with |^## What lies where$/m,
         short("$folder/README.md") . ' says where to start reading');
}

# ----- links -----

# As GitHub makes them: lower case, punctuation away, spaces to dashes.
sub anchors
{
    my ($path) = @_;
    my $text = read_file($path) =~ s/^```.*?^```$//gmsr;
    my %seen;

    return map {
        my $slug = lc s/\[([^\]]*)\]\([^)]*\)/$1/gr =~ s/[^\w\- ]//gr
                          =~ tr/ /-/r;
        my $n = $seen{$slug}++;
        ($n ? "$slug-$n" : $slug) => 1;
    } map { s/\s+$//r } $text =~ /^#+ +(.*)$/gm;
}

for my $page (@pages) {
    my $text = read_file($page) =~ s/^```.*?^```$//gmsr;
    my @broken;

    while ($text =~ /\]\(([^)\s]+)\)/g) {
        my ($path, $anchor) = $1 =~ /^([^#]*)(?:#(.*))?$/;

        next if $path =~ /^[a-z]+:/;
        my $target = $path eq '' ? $page : dirname($page) . "/$path";
        if (!-e $target) { push @broken, $path; next }
        next if !defined $anchor;
        my %is = anchors($target);
        push @broken, "$path#$anchor" if !$is{$anchor};
    }
    is_deeply(\@broken, [], short($page) . ': every link leads somewhere');

    my @named =
        $text =~ m{(?<![\w/.-])((?:docs|t)/[\w./-]*\.(?:md|t|c|pm|sh))\b}g;
    is_deeply([grep { !-e "$top/$_" } @named], [],
              short($page) . ': every file named is there');
}

# t/chroots runs the commands of these two, word by word.
for my $heading ('1. Install', 'How do I undo it') {
    my ($section) = read_file("$top/docs/quickstart.md")
        =~ /^(## \Q$heading\E.*?)(?=^## |\z)/ms;

    is(() = $section =~ /^\*\*Debian and Ubuntu.*?\n```sh\n.*?\n```\n/msg, 1,
       "the quick start, $heading: one block for Debian");
}

my $manual = read_file("$top/docs/man/mod_staple.8");
for my $name (read_file("$top/docs/directives.md") =~ /^## (S\w+)$/gm) {
    like($manual, qr/^\.B[IR] $name\b/m, "$name is in the manual page");
}

my $index = read_file("$top/docs/index.md");
for my $page (grep { m{/docs/[^/]+\.md$} && !m{/index\.md$} } @pages) {
    my $name = short($page) =~ s{^docs/}{}r;

    like($index, qr/\]\(\Q$name\E\)/, "$name is in the index");
}

done_testing;
